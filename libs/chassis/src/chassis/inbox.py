"""All SQL of the inbox: what has taken effect, how far each key is, and what is parked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.arrivals import Arrival
from chassis.db import Tx


@dataclass(frozen=True, slots=True)
class Place:
    """How far a key is: its last version, None before the first; and whether it is parked."""

    version: int | None
    is_parked: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an event is parked."""

    error: str
    reason: str
    attempts: int
    failed_at: datetime


async def lock(tx: Tx, topic: str, partition: int) -> None:
    """Be alone with this partition: against a redrive, and a member that lost it unawares."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtext($1), $2)", topic, partition)


async def add(tx: Tx, arrivals: Sequence[Arrival]) -> set[UUID]:
    """Record the events; the ids of those that had not been here before."""
    if not arrivals:
        return set()
    rows = await tx.fetch(
        "INSERT INTO inbox (event_id, topic, partition, kafka_offset)"
        " SELECT event_id, $1, $2, kafka_offset"
        " FROM unnest($3::uuid[], $4::bigint[]) AS a (event_id, kafka_offset)"
        " ON CONFLICT DO NOTHING RETURNING event_id",
        arrivals[0].topic,
        arrivals[0].partition,
        [arrival.event_id for arrival in arrivals],
        [arrival.offset for arrival in arrivals],
    )
    return {row[0] for row in rows}


async def places(tx: Tx, topic: str, keys: Sequence[str]) -> dict[str, Place]:
    rows = await tx.fetch(
        "SELECT k.key, p.version, EXISTS"
        " (SELECT FROM inbox_parked q WHERE q.topic = $1 AND q.key = k.key)"
        " FROM unnest($2::text[]) AS k (key)"
        " LEFT JOIN inbox_position p ON p.topic = $1 AND p.key = k.key",
        topic,
        keys,
    )
    return {key: Place(version, is_parked) for key, version, is_parked in rows}


async def move(tx: Tx, topic: str, versions: Mapping[str, int]) -> None:
    """Each key is at this version now."""
    if versions:
        await tx.execute(
            "INSERT INTO inbox_position AS p (topic, key, version)"
            " SELECT $1, key, version FROM unnest($2::text[], $3::bigint[]) AS v (key, version)"
            " ON CONFLICT (topic, key)"
            " DO UPDATE SET version = greatest(p.version, excluded.version)",
            topic,
            list(versions),
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
