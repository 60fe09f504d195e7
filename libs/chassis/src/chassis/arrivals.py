"""One Kafka record, decoded once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from aiokafka import ConsumerRecord
from events import Envelope, Event, EventId, Malformed, Unrecognised, decode
from msgspec import Struct


class Arrival(Struct, frozen=True):
    """A record with what it says; `version` is 0 where a malformed one does not say it."""

    topic: str
    partition: int
    offset: int
    at: datetime
    key: str
    headers: Sequence[tuple[str, bytes]]
    value: bytes | None
    event_id: EventId
    version: int
    type: str
    content: Envelope[Event] | Unrecognised | Malformed

    @property
    def place(self) -> tuple[str, str]:
        """What orders it among the others: its topic and its key."""
        return self.topic, self.key

    @property
    def traceparent(self) -> str | None:
        return self.content.traceparent if isinstance(self.content, Envelope) else None


def arrive(record: ConsumerRecord) -> Arrival:
    """Decode a record; one that cannot be read is an arrival as well."""
    content: Envelope[Event] | Unrecognised | Malformed
    try:
        content = decode(record.headers, record.value)
    except Malformed as problem:
        content = problem
    if isinstance(content, Malformed):
        event_id, version, type_ = _salvage(record)
    else:
        event_id, version = content.id, content.sequence
        type_ = content.type if isinstance(content, Unrecognised) else content.event.TYPE
    return Arrival(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=(record.key or b"").decode(errors="replace"),
        headers=record.headers,
        value=record.value,
        event_id=event_id,
        version=version,
        type=type_,
        content=content,
    )


def _salvage(record: ConsumerRecord) -> tuple[EventId, int, str]:
    """What a malformed record still says of itself; its place stands in for a missing id."""
    said = {name: raw.decode(errors="replace") for name, raw in record.headers if raw is not None}
    try:
        event_id = UUID(said.get("ce_id", ""))
    except ValueError:
        place = f"{record.topic}/{record.partition}/{record.offset}"
        event_id = uuid5(NAMESPACE_URL, place)
    sequence = said.get("ce_sequence", "")
    version = int(sequence) if sequence.isascii() and sequence.isdigit() else 0
    return EventId(event_id), version, said.get("ce_type", "")
