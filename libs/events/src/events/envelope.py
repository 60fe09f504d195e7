"""CloudEvents 1.0 in Kafka binary mode: attributes in `ce_` headers, the event's JSON as the value.

Source: the CloudEvents Kafka protocol binding; the extensions `sequence` and `traceparent`.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct
from pydantic import TypeAdapter
from pydantic_core import to_json

from events.event import Event, event_class
from events.ids import EventId

E_co = TypeVar("E_co", bound=Event, covariant=True)
Headers = Iterable[tuple[str, bytes]]
_iso = lru_cache(maxsize=16)(datetime.isoformat)  # all facts of a transaction have one time
_UUID = TypeAdapter(UUID)  # reads a UUID in a fifth of the time that uuid.UUID takes


class Malformed(ValueError):
    """The record is not a readable CloudEvent of the type that it names."""


class Envelope(Struct, Generic[E_co], frozen=True):
    """One event with what is said about it.

    `sequence` counts the events of this key from 1 without a gap; `correlation_id` is the document
    at the head of the road; `causation_id` is the event that led to this one.
    """

    id: EventId
    time: datetime
    sequence: int
    correlation_id: str
    event: E_co
    causation_id: EventId | None = None
    traceparent: str | None = None

    def headers(self) -> dict[str, str]:
        """The Kafka headers, without those that have no value."""
        event = self.event
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(self.id),
            "ce_source": event.TOPIC.source,
            "ce_type": event.TYPE,
            "ce_subject": event.key,
            "ce_time": _iso(self.time),
            "ce_sequence": str(self.sequence),
            "ce_correlationid": self.correlation_id,
            "content-type": "application/json",
        }
        if self.causation_id is not None:
            headers["ce_causationid"] = str(self.causation_id)
        if self.traceparent is not None:
            headers["traceparent"] = self.traceparent
        return headers

    def value(self) -> bytes:
        """The record value: the event's JSON, absent optional fields left out."""
        return to_json(self.event, exclude_none=True)


class Unrecognised(Struct, frozen=True):
    """A well-formed record of a type that this release does not know: skipped and counted."""

    id: EventId
    type: str
    subject: str
    sequence: int


def decode(headers: Headers, value: bytes | None) -> Envelope[Event] | Unrecognised:
    """Read one record; headers that are not ours are left alone.

    Raises:
        Malformed: a required header is missing or unreadable, or the value does not fit its type.
    """
    raw = dict(headers)
    type_, subject = _text(raw, "ce_type"), _text(raw, "ce_subject")
    try:
        id_, sequence = _event_id(raw, "ce_id"), int(_text(raw, "ce_sequence"))
    except ValueError as problem:
        raise Malformed(f"{type_}: ce_id or ce_sequence is unreadable: {problem}") from problem
    cls = event_class(type_)
    if cls is None or value is None:  # no value: a tombstone, which only erasure writes
        return Unrecognised(id_, type_, subject, sequence)
    try:
        return Envelope(
            id=id_,
            time=_aware(_text(raw, "ce_time")),
            sequence=sequence,
            correlation_id=_text(raw, "ce_correlationid") if "ce_correlationid" in raw else subject,
            event=cls.model_validate_json(value),
            causation_id=_event_id(raw, "ce_causationid") if "ce_causationid" in raw else None,
            traceparent=_text(raw, "traceparent") if "traceparent" in raw else None,
        )
    except ValueError as problem:
        raise Malformed(f"{type_}: {problem}") from problem


def _text(raw: dict[str, bytes], name: str) -> str:
    value = raw.get(name)
    if value is None:
        raise Malformed(f"header {name} is missing")
    try:
        return value.decode()
    except UnicodeDecodeError as problem:
        raise Malformed(f"header {name} is not UTF-8") from problem


def _event_id(raw: dict[str, bytes], name: str) -> EventId:
    return EventId(_UUID.validate_python(_text(raw, name)))


def _aware(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise Malformed(f"header ce_time has no offset from UTC: {text}")
    return time
