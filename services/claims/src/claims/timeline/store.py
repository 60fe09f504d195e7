"""All SQL of timelines."""

from collections.abc import Sequence

from chassis import Tx
from events import EventId
from msgspec import json

from claims.timeline.domain import Entry

_ADD = """
INSERT INTO timeline_entry (event_id, document_id, topic, partition, kafka_offset, type,
    occurred_at, actor, system, facts)
SELECT * FROM json_to_recordset(convert_from($1, 'UTF8')::json) AS e (event_id uuid,
    document_id text, topic text, partition integer, "offset" bigint, type text,
    occurred_at timestamptz, actor text, system text, facts jsonb)
ON CONFLICT (event_id) DO NOTHING
"""


async def add_entries(tx: Tx, entries: Sequence[Entry]) -> None:
    """Keep a whole batch in one statement; what is known already stays as it is."""
    await tx.execute(_ADD, json.encode(entries))


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
            facts=json.decode(row["facts"]),
        )
        for row in rows
    ]
