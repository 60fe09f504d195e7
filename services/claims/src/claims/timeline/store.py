"""All SQL of timelines."""

import json
from collections.abc import Sequence

from chassis import Tx
from events import EventId

from claims.timeline.domain import Entry


async def add_entries(tx: Tx, entries: Sequence[Entry]) -> None:
    """Keep a whole batch in one statement; what is known already stays as it is."""
    await tx.execute(
        "INSERT INTO timeline_entry (event_id, document_id, topic, partition, kafka_offset, type,"
        " occurred_at, actor, system, facts) SELECT * FROM unnest($1::uuid[], $2::text[],"
        " $3::text[], $4::integer[], $5::bigint[], $6::text[], $7::timestamptz[], $8::text[],"
        " $9::text[], $10::jsonb[]) ON CONFLICT (event_id) DO NOTHING",
        [entry.event_id for entry in entries],
        [entry.document_id for entry in entries],
        [entry.topic for entry in entries],
        [entry.partition for entry in entries],
        [entry.offset for entry in entries],
        [entry.type for entry in entries],
        [entry.occurred_at for entry in entries],
        [entry.actor for entry in entries],
        [entry.system for entry in entries],
        [json.dumps(entry.facts) for entry in entries],
    )


async def entries_of(tx: Tx, document_id: str) -> list[Entry]:
    """The document's road as it was travelled; event ids are ordered by time."""
    rows = await tx.fetch(
        "SELECT event_id, topic, partition, kafka_offset, type, occurred_at, actor, system, facts"
        " FROM timeline_entry WHERE document_id = $1 ORDER BY occurred_at, event_id",
        document_id,
    )
    return [
        Entry(
            event_id=EventId(row["event_id"]),
            document_id=document_id,
            topic=row["topic"],
            partition=row["partition"],
            offset=row["kafka_offset"],
            type=row["type"],
            occurred_at=row["occurred_at"],
            actor=row["actor"],
            system=row["system"],
            facts=json.loads(row["facts"]),
        )
        for row in rows
    ]
