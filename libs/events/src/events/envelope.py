"""CloudEvents 1.0 in Kafka binary mode: attributes in `ce_` headers, the event's JSON as the value.

Source: the CloudEvents Kafka protocol binding; the extensions `sequence` and `traceparent`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from events.event import Event, event_class
from events.ids import EventId

E_co = TypeVar("E_co", bound=Event, covariant=True)
Headers = Iterable[tuple[str, bytes]]


class Malformed(ValueError):
    """The record is not a readable CloudEvent of the type that it names."""


@dataclass(frozen=True, slots=True)
class Envelope(Generic[E_co]):
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
            "ce_time": self.time.isoformat(),
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
        return self.event.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A well-formed record of a type that this release does not know: skipped and counted."""

    id: EventId
    type: str
    subject: str
    sequence: int


def decode(headers: Headers, value: bytes | None) -> Envelope[Event] | Unrecognised:
    """Read one record.

    Raises:
        Malformed: a required header is missing or unreadable, or the value does not fit its type.
    """
    attributes = {name: raw.decode() for name, raw in headers}
    try:
        id_, type_ = EventId(UUID(attributes["ce_id"])), attributes["ce_type"]
        sequence = int(attributes["ce_sequence"])
        subject = attributes["ce_subject"]
    except (KeyError, ValueError) as problem:
        raise Malformed(f"header missing or unreadable: {problem}") from problem
    cls = event_class(type_)
    if cls is None or value is None:  # no value: a tombstone, which only erasure writes
        return Unrecognised(id_, type_, subject, sequence)
    try:
        causation = attributes.get("ce_causationid")
        return Envelope(
            id=id_,
            time=datetime.fromisoformat(attributes["ce_time"]),
            sequence=sequence,
            correlation_id=attributes.get("ce_correlationid", subject),
            event=cls.model_validate_json(value),
            causation_id=EventId(UUID(causation)) if causation else None,
            traceparent=attributes.get("traceparent"),
        )
    except (KeyError, ValueError) as problem:
        raise Malformed(f"{type_}: {problem}") from problem
