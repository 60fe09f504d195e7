"""All SQL of the inbox: what has taken effect, how far each key is, and what is parked."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from chassis.arrivals import Arrival
from chassis.db import Tx

Key = tuple[str, str]  # of a topic


class Place(Struct, frozen=True):
    """How far a key is: its last version, None before the first; and whether it is parked."""

    version: int | None
    is_parked: bool


class Failure(Struct, frozen=True):
    """Why an event is parked."""

    error: str
    reason: str
    attempts: int
    failed_at: datetime


async def lock(tx: Tx, partitions: Iterable[tuple[str, int]]) -> None:
    """Be alone with these (topic, partition): against a redrive, and a member that lost one."""
    topics, numbers = zip(*sorted(partitions), strict=True)
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtext(topic), partition)"
        " FROM unnest($1::text[], $2::integer[]) AS a (topic, partition)",
        topics,
        numbers,
    )


async def add(tx: Tx, arrivals: Sequence[Arrival]) -> set[UUID]:
    """Record the events; the ids of those that had not been here before."""
    if not arrivals:
        return set()
    rows = await tx.fetch(
        "INSERT INTO inbox (event_id, topic, partition, kafka_offset)"
        " SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[])"
        " ON CONFLICT DO NOTHING RETURNING event_id",
        [arrival.event_id for arrival in arrivals],
        [arrival.topic for arrival in arrivals],
        [arrival.partition for arrival in arrivals],
        [arrival.offset for arrival in arrivals],
    )
    return {row[0] for row in rows}


async def places(tx: Tx, keys: Collection[Key]) -> dict[Key, Place]:
    # Scalar subqueries: whatever the planner takes the tables' sizes for, each is one index lookup.
    rows = await tx.fetch(
        "SELECT k.topic, k.key,"
        " (SELECT version FROM inbox_position p WHERE p.topic = k.topic AND p.key = k.key),"
        " EXISTS (SELECT FROM inbox_parked q WHERE q.topic = k.topic AND q.key = k.key)"
        " FROM unnest($1::text[], $2::text[]) AS k (topic, key)",
        [topic for topic, _ in keys],
        [key for _, key in keys],
    )
    return {(topic, key): Place(version, is_parked) for topic, key, version, is_parked in rows}


async def move(tx: Tx, versions: Mapping[Key, int]) -> None:
    """Each key is at this version now."""
    if versions:
        await tx.execute(
            "INSERT INTO inbox_position AS p (topic, key, version)"
            " SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])"
            " ON CONFLICT (topic, key)"
            " DO UPDATE SET version = greatest(p.version, excluded.version)",
            [topic for topic, _ in versions],
            [key for _, key in versions],
            list(versions.values()),
        )


async def park(tx: Tx, arrivals: Sequence[Arrival], failure: Failure) -> None:
    await tx.executemany(
        "INSERT INTO inbox_parked (topic, key, version, event_id, type, partition, kafka_offset,"
        " record_at, headers, payload, error, reason, attempts, failed_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        " ON CONFLICT DO NOTHING",
        [
            (
                *(arrival.topic, arrival.key, arrival.version, arrival.event_id, arrival.type),
                *(arrival.partition, arrival.offset, arrival.at),
                json.dumps([(name, raw.decode("latin-1")) for name, raw in arrival.headers]),
                arrival.value,
                *(failure.error, failure.reason, failure.attempts, failure.failed_at),
            )
            for arrival in arrivals
        ],
    )
