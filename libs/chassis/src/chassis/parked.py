"""Parked events: looked at, redriven in order, or discarded by a person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from aiokafka import ConsumerRecord
from events import EventId

from chassis import inbox
from chassis.arrivals import Arrival, arrive
from chassis.batch import Routes, apply_parked
from chassis.db import Database, Tx
from chassis.subscriptions import Subscription

# The order of a key is by version, not by place: an event that was missing may have come after
# those that missed it.


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """One key that waits, with the reason of its first event."""

    topic: str
    key: str
    events: int
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One event that waits; `payload` is its JSON as it came."""

    event_id: EventId
    version: int
    type: str
    partition: int
    offset: int
    reason: str
    error: str
    attempts: int
    parked_at: datetime
    is_discarded: bool
    payload: str | None


@dataclass(frozen=True, slots=True)
class Redriven:
    """How a redrive went; `stopped_by` is what the first event that still fails says."""

    applied: int
    left: int
    stopped_by: str | None


@dataclass(frozen=True, slots=True)
class ToCopy:
    """A parked event on its way to the topic of dead letters."""

    row: asyncpg.Record

    @property
    def topic(self) -> str:
        return str(self.row["topic"])

    @property
    def partition(self) -> int:
        return int(self.row["partition"])

    @property
    def key(self) -> str:
        return str(self.row["key"])

    @property
    def payload(self) -> bytes:
        return self.row["payload"] or b""

    def headers(self, group: str) -> list[tuple[str, bytes]]:
        """Those it came with, and how it came here."""
        row = self.row
        told = {
            "dlq.topic": row["topic"],
            "dlq.partition": row["partition"],
            "dlq.offset": row["kafka_offset"],
            "dlq.timestamp": row["record_at"].isoformat(),
            "dlq.group": group,
            "dlq.attempts": row["attempts"],
            "dlq.error": row["error"],
            "dlq.reason": row["reason"],
            "dlq.failed_at": row["failed_at"].isoformat(),
            "dlq.parked_at": row["parked_at"].isoformat(),
        }
        return [*_headers(row), *((name, str(value).encode()) for name, value in told.items())]


async def parked_keys(tx: Tx) -> list[ParkedKey]:
    """All keys that wait, the longest first."""
    rows = await tx.fetch(
        "SELECT topic, key, count(*),"
        " (array_agg(reason ORDER BY version, kafka_offset))[1], min(parked_at)"
        " FROM inbox_parked GROUP BY topic, key ORDER BY min(parked_at)"
    )
    return [ParkedKey(*row) for row in rows]


async def parked_events(tx: Tx, topic: str, key: str) -> list[ParkedEvent]:
    """The events of a key in the order in which a redrive takes them."""
    rows = await tx.fetch(
        "SELECT event_id, version, type, partition, kafka_offset AS offset, reason, error,"
        " attempts, parked_at, discarded_at IS NOT NULL AS is_discarded, payload"
        " FROM inbox_parked WHERE topic = $1 AND key = $2 ORDER BY version, kafka_offset",
        *(topic, key),
    )
    return [ParkedEvent(**{**row, "payload": _text(row["payload"])}) for row in rows]


async def redrive(
    database: Database, subscriptions: Sequence[Subscription], topic: str, key: str
) -> Redriven:
    """Apply the parked events of a key in order, each in a transaction of its own.

    The first that fails stops it and stays parked with those behind it. After the last one the
    key flows again: live events wait for the lock of the partition meanwhile.
    """
    routes, applied = Routes(subscriptions), 0
    while True:
        try:
            async with database.transaction() as tx:
                row = await _next(tx, topic, key)
                if row is None:
                    return Redriven(applied, 0, None)
                await _apply(tx, routes, row)
        except Exception as error:  # noqa: BLE001 -- the answer says it
            async with database.transaction() as tx:
                left = len(await parked_events(tx, topic, key))
            return Redriven(applied, left, f"{type(error).__name__}: {error}")
        applied += row["discarded_at"] is None


async def discard(tx: Tx, topic: str, key: str, event_id: EventId) -> bool:
    """Give up one parked event: it is skipped at its turn, at once if it is the first.

    False when it is not parked (any more).
    """
    first = await _next(tx, topic, key)
    if first is None:
        return False
    marked = await tx.execute(
        "UPDATE inbox_parked SET discarded_at = $4"
        " WHERE topic = $1 AND key = $2 AND event_id = $3 AND discarded_at IS NULL",
        *(topic, key, event_id, tx.now),
    )
    row = await _next(tx, topic, key)
    while row is not None and row["discarded_at"] is not None:
        await _skip(tx, row)
        row = await _next(tx, topic, key)
    return marked == "UPDATE 1"


async def census(tx: Tx) -> tuple[int, datetime | None]:
    """How many keys wait, and since when the oldest."""
    row = await tx.fetchrow("SELECT count(DISTINCT (topic, key)), min(parked_at) FROM inbox_parked")
    assert row is not None  # noqa: S101 -- an aggregate has one row
    return row[0], row[1]


async def to_copy(tx: Tx) -> list[ToCopy]:
    rows = await tx.fetch(
        "SELECT * FROM inbox_parked WHERE copied_at IS NULL ORDER BY parked_at LIMIT 100"
    )
    return [ToCopy(row) for row in rows]


async def copied(tx: Tx, letter: ToCopy) -> None:
    await tx.execute(
        "UPDATE inbox_parked SET copied_at = $4 WHERE topic = $1 AND key = $2 AND event_id = $3",
        *(letter.topic, letter.key, letter.row["event_id"], tx.now),
    )


async def _next(tx: Tx, topic: str, key: str) -> asyncpg.Record | None:
    """The first parked event of a key, alone with its partition until the transaction ends."""
    partition = await tx.fetchval(
        "SELECT partition FROM inbox_parked WHERE topic = $1 AND key = $2 LIMIT 1", topic, key
    )
    if partition is None:
        return None
    await inbox.lock(tx, {(topic, partition)})
    return await tx.fetchrow(
        "SELECT * FROM inbox_parked WHERE topic = $1 AND key = $2"
        " ORDER BY version, kafka_offset LIMIT 1",
        *(topic, key),
    )


async def _apply(tx: Tx, routes: Routes, row: asyncpg.Record) -> None:
    if row["discarded_at"] is not None:
        await _skip(tx, row)
        return
    await apply_parked(tx, routes, _arrival(row))
    await _remove(tx, row)


async def _skip(tx: Tx, row: asyncpg.Record) -> None:
    if row["version"] > 0:
        await inbox.move(tx, {(row["topic"], row["key"]): row["version"]})
    await _remove(tx, row)


async def _remove(tx: Tx, row: asyncpg.Record) -> None:
    await tx.execute(
        "DELETE FROM inbox_parked WHERE topic = $1 AND key = $2 AND event_id = $3",
        *(row["topic"], row["key"], row["event_id"]),
    )


def _arrival(row: asyncpg.Record) -> Arrival:
    key, value = row["key"].encode(), row["payload"]
    return arrive(
        ConsumerRecord(
            topic=row["topic"],
            partition=row["partition"],
            offset=row["kafka_offset"],
            timestamp=int(row["record_at"].timestamp() * 1000),
            timestamp_type=0,
            key=key,
            value=value,
            checksum=None,
            serialized_key_size=len(key),
            serialized_value_size=len(value or b""),
            headers=_headers(row),
        )
    )


def _text(payload: bytes | None) -> str | None:
    return None if payload is None else payload.decode(errors="replace")


def _headers(row: asyncpg.Record) -> list[tuple[str, bytes]]:
    return [(name, raw.encode("latin-1")) for name, raw in json.loads(row["headers"])]
