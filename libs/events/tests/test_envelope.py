"""One record in, one event out: tolerant to what may grow, strict about what must hold."""

import json
import re
from datetime import UTC, datetime
from typing import get_args, get_origin
from uuid import UUID

import pytest
from events import Envelope, EventId, Malformed, Unrecognised, decode, event_classes
from events.claims import ClaimSubmitted, Severity
from events.workflow import Decision, Outcome

SUBMITTED = "claim.submitted.v1"
REQUIRED = ("ce_id", "ce_type", "ce_subject", "ce_sequence", "ce_time")


def test_unknown_fields_are_ignored_at_every_depth(record):
    total = {"amount": "1488.00", "currency": "CNY", "rounding": "half_even"}

    plain = decode(*record(SUBMITTED))
    grown = decode(*record(SUBMITTED, value={"priority": "high", "total": total}))

    assert grown == plain


def test_an_unknown_header_is_ignored_even_when_it_is_not_text(record):
    headers, value = record(SUBMITTED)

    assert decode([*headers, ("x-vendor-trace", b"\xff\x00")], value) == decode(headers, value)


def test_an_unknown_type_is_reported_and_not_read(record):
    headers, _ = record(SUBMITTED, headers={"ce_type": "claim.archived.v1"})

    unknown = decode(headers, b"not even JSON")

    assert isinstance(unknown, Unrecognised)
    assert unknown.type == "claim.archived.v1"
    assert unknown.sequence == 1


def test_a_tombstone_is_reported_and_not_read(record):
    headers, _ = record("employee.updated.v1")

    assert decode(headers, None) == Unrecognised(
        id=EventId(UUID(dict(headers)["ce_id"].decode())),
        type="employee.updated.v1",
        subject="E1024",
        sequence=3,
    )


def test_an_unknown_enum_value_becomes_unknown(record):
    decided = decode(*record("approval.decided.v1", value={"outcome": "approved_with_conditions"}))

    assert decided.event.outcome is Outcome.UNKNOWN
    assert decided.event.outcome is not Outcome.APPROVED


@pytest.mark.parametrize("member", [Severity.UNKNOWN, Decision.UNKNOWN, Outcome.UNKNOWN])
def test_unknown_is_written_as_itself_and_stays_unknown(member):
    assert type(member)(member.value) is member


@pytest.mark.parametrize("name", REQUIRED)
def test_a_record_without_a_required_header_is_malformed_and_names_it(name, record):
    headers, value = record(SUBMITTED)

    with pytest.raises(Malformed, match=f"header {name} is missing"):
        decode([header for header in headers if header[0] != name], value)


@pytest.mark.parametrize("name", [*REQUIRED, "ce_correlationid", "traceparent"])
@pytest.mark.parametrize("raw", [b"\xff\xfe", None])
def test_an_unreadable_header_is_malformed_and_named(name, raw, record):
    headers, value = record(SUBMITTED)

    with pytest.raises(Malformed, match=f"header {name} is "):
        decode([*headers, (name, raw)], value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ce_id", "not-a-uuid"),
        ("ce_sequence", "first"),
        ("ce_time", "yesterday"),
        ("ce_time", "2026-11-23T01:12:09"),
        ("ce_causationid", "not-a-uuid"),
    ],
)
def test_a_header_with_another_meaning_is_malformed(name, text, record):
    headers, value = record(SUBMITTED, headers={name: text})

    with pytest.raises(Malformed, match=re.escape(SUBMITTED)):
        decode(headers, value)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("total", {"amount": 1488.0, "currency": "CNY"}),
        ("total", {"amount": 1488, "currency": "CNY"}),
        ("total", {"amount": "1488.00000", "currency": "CNY"}),
        ("total", {"amount": "1.488E+3", "currency": "CNY"}),
        ("total", {"amount": "NaN", "currency": "CNY"}),
        ("total", {"amount": "１４８８", "currency": "CNY"}),
        ("total", {"amount": "1488.00", "currency": "yuan"}),
        ("total", {"amount": "1488.00"}),
        ("submitted_at", "2026-11-23T01:12:09"),
        ("revision", 0),
        ("content_hash", "abc"),
        ("title", None),
        ("title", "长" * 201),
    ],
)
def test_a_value_that_does_not_fit_is_malformed_and_names_the_field(field, wrong, record):
    headers, value = record(SUBMITTED, value={field: wrong})

    with pytest.raises(Malformed, match=field):
        decode(headers, value)


def test_a_refusal_does_not_repeat_what_the_record_holds(record):
    headers, value = record("employee.updated.v1", value={"updated_at": "王小明"})

    with pytest.raises(Malformed) as refused:
        decode(headers, value)

    assert "王小明" not in str(refused.value)


def test_a_value_that_is_not_json_is_malformed(record):
    headers, _ = record(SUBMITTED)

    with pytest.raises(Malformed, match="JSON"):
        decode(headers, b"\xff{")


def test_the_document_at_the_head_is_the_subject_unless_said_otherwise(record):
    headers, value = record(SUBMITTED)
    short = [header for header in headers if header[0] != "ce_correlationid"]

    assert decode(short, value).correlation_id == dict(headers)["ce_subject"].decode()


def test_headers_follow_the_cloudevents_binding(golden):
    for example in golden.values():
        names = list(example["headers"])
        attributes = [name.removeprefix("ce_") for name in names if name.startswith("ce_")]

        assert names[0] == "ce_specversion"
        assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in attributes)
        assert set(names) - {f"ce_{name}" for name in attributes} <= {"content-type", "traceparent"}
        assert example["headers"]["content-type"] == "application/json"
        assert not example["headers"]["content-type"].startswith("application/cloudevents")


def test_the_time_header_is_rfc_3339_with_an_offset(golden):
    rfc_3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"

    for example in golden.values():
        assert re.fullmatch(rfc_3339, example["headers"]["ce_time"])


def test_absent_optional_parts_leave_no_trace_on_the_wire(record):
    event = decode(*record(SUBMITTED)).event.model_copy(update={"violations": ()})
    envelope = Envelope(
        id=EventId(UUID(int=1)),
        time=datetime(2026, 11, 23, tzinfo=UTC),
        sequence=1,
        correlation_id="c",
        event=event,
    )

    assert "ce_causationid" not in envelope.headers()
    assert "traceparent" not in envelope.headers()
    assert "city" not in json.loads(envelope.value())["lines"][3]


def test_every_list_in_an_event_is_a_tuple_so_that_a_fact_cannot_change():
    for cls in event_classes():
        for name, field in cls.model_fields.items():
            assert get_origin(field.annotation) not in {list, dict, set}, f"{cls.__name__}.{name}"
            assert not {list, dict, set} & set(get_args(field.annotation))


def test_an_event_is_frozen(record):
    event = decode(*record(SUBMITTED)).event

    assert isinstance(event, ClaimSubmitted)
    with pytest.raises(ValueError, match="frozen"):
        event.revision = 2
