"""Any event that can be made can be written, fits its schema, and is read back as it was."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from events import Envelope, EventId, decode, event_classes, printouts
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AwareDatetime, BaseModel

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 the zone is drawn beside it
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=8))]),
)
AMOUNTS = st.decimals(
    min_value=-(10**13), max_value=10**13, allow_nan=False, allow_infinity=False, places=4
) | st.sampled_from([Decimal("1E+3"), Decimal(0), Decimal("-0.0001")])
SCHEMAS = {cls: Draft202012Validator(printouts.schema(cls)) for cls in event_classes()}
SIMPLE = {
    type(None): st.none(),
    bool: st.booleans(),
    AwareDatetime: MOMENTS,
    date: st.dates(),
    Decimal: AMOUNTS,
}


def values(annotation, rules=()):
    """Values of an annotated type as the contracts use them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return st.one_of([values(choice, rules) for choice in arguments])
    if origin is Annotated:
        return values(arguments[0], (*rules, *arguments[1:]))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    return plain(getattr(annotation, "__supertype__", annotation), rules)


def plain(cls, rules):
    """Values of a class: a number, a text, a model, or an enumeration."""
    if cls is int:
        return st.integers(min_value=rule(rules, "ge"), max_value=2**53)
    if cls is str:
        pattern = rule(rules, "pattern")
        if pattern is not None:
            return st.from_regex(pattern.replace("$", r"\Z"), fullmatch=True)
        return st.text(max_size=rule(rules, "max_length") or 40)
    return models(cls) if issubclass(cls, BaseModel) else st.sampled_from(cls)


def rule(rules, name):
    """The first value of that name among the annotations and those folded into a Field."""
    folded = [inner for outer in rules for inner in getattr(outer, "metadata", ())]
    return next((getattr(each, name) for each in (*rules, *folded) if hasattr(each, name)), None)


def models(cls):
    fields = cls.model_fields.items()
    return st.builds(cls, **{name: values(f.annotation, f.metadata) for name, f in fields})


def envelopes():
    return st.builds(
        Envelope,
        id=st.uuids().map(EventId),
        time=MOMENTS,
        sequence=st.integers(min_value=1, max_value=2**31),
        correlation_id=st.text(max_size=20),
        event=st.sampled_from(event_classes()).flatmap(models),
        causation_id=st.none() | st.uuids().map(EventId),
        traceparent=st.none() | st.text(alphabet="0123456789abcdef-", max_size=55),
    )


@settings(max_examples=150, deadline=None)
@given(envelope=envelopes())
def test_writing_and_reading_is_the_identity_and_fits_the_schema(envelope):
    headers = [(name, text.encode()) for name, text in envelope.headers().items()]
    value = envelope.value()

    assert decode(headers, value) == envelope
    assert list(SCHEMAS[type(envelope.event)].iter_errors(json.loads(value))) == []
