"""Keeping every event of a claim's road, and telling the road."""

from collections.abc import Sequence

from chassis import Received, Tx
from events import ClaimId, EmployeeId, Event

from claims.claim import handlers as claim_handlers
from claims.timeline import store
from claims.timeline.domain import Entry, actor_of, facts_of, system_of


async def record(tx: Tx, batch: Sequence[Received[Event]]) -> None:
    """Keep a batch of events with their places."""
    await store.add_entries(tx, [_entry(received) for received in batch])


async def timeline(tx: Tx, claim_id: ClaimId, reader: EmployeeId | None) -> list[Entry]:
    """The road of a claim that this reader may see."""
    claim = await claim_handlers.readable_claim(tx, claim_id, reader)
    return await store.entries_of(tx, claim.id)


def _entry(received: Received[Event]) -> Entry:
    event = received.event
    return Entry(
        event_id=received.envelope.id,
        document_id=received.envelope.correlation_id,
        topic=received.topic,
        partition=received.partition,
        offset=received.offset,
        type=event.TYPE,
        occurred_at=received.envelope.time,
        actor=actor_of(event),
        system=system_of(event),
        facts=facts_of(event),
    )
