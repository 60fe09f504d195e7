"""The consumer loop of the chassis, beside a bare loop that writes the same rows.

Both read one topic of 30,000 events in transactions of at most 1,000, and write for each event an
inbox row, its key's position, one effect row, and one fact into the outbox.
"""

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import raw
from chassis import kafka, turns
from chassis.consumer import Consumer
from chassis.db import Database, Tx
from chassis.settings import ServiceSettings
from chassis.subscriptions import Handler, Received, on_batch
from events import DocumentId, Event
from events.claims import (
    CLAIM,
    ClaimApproved,
    ClaimSubmitted,
    PaymentRequested,
    PaymentSettled,
)
from events.workflow import APPROVAL, ApprovalCancelled
from facts import lives
from harness import Figure, interleave
from servers import Servers

EVENTS = 30_000
KEYS = 3_000
_KINDS = (ClaimSubmitted, ClaimApproved, PaymentRequested, PaymentSettled)
_EFFECT = """
INSERT INTO effect (event_id, claim_id, type)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
"""
TABLE = "CREATE TABLE effect (event_id uuid PRIMARY KEY, claim_id text, type text)"
_EMPTY = "TRUNCATE inbox, inbox_position, effect, outbox, outbox_head"


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_inbox")
    await database.pool.execute(TABLE)
    await raw.produce(at.bootstrap, CLAIM.name, list(lives(EVENTS, KEYS)))
    settings = ServiceSettings(
        postgres_dsn=dsn, kafka_bootstrap_servers=at.bootstrap, oidc_issuer="http://nobody"
    )

    async def bare() -> float:
        await _empty(database)
        rate = await _bare(dsn, settings)
        await _check(database)
        return rate

    async def chassis() -> float:
        await _empty(database)
        rate = await consume(database, settings, _KINDS, record, EVENTS)
        await _check(database)
        return rate

    rates = await interleave("inbox", {"bare loop": bare, "consumer": chassis})
    return [
        Figure(
            "inbox consumer",
            "events/s",
            "bare UNNEST loop, same rows",
            0.60,
            rates["bare loop"],
            rates["consumer"],
        )
    ], {}


async def _empty(database: Database) -> None:
    await database.pool.execute(_EMPTY)
    await database.pool.execute("VACUUM ANALYZE inbox, inbox_position, effect, outbox, outbox_head")


async def _check(database: Database) -> None:
    for table in ("inbox", "effect", "outbox"):
        if (rows := await database.pool.fetchval(f"SELECT count(*) FROM {table}")) != EVENTS:  # noqa: S608
            raise RuntimeError(f"{table} holds {rows} rows, not {EVENTS}")


async def record(tx: Tx, batch: Sequence[Received[Any]]) -> None:
    """The least that a handler does: one effect row and one fact for each event."""
    await tx.execute(
        _EFFECT,
        [one.envelope.id for one in batch],
        [one.event.claim_id for one in batch],
        [one.event.TYPE for one in batch],
    )
    for one in batch:
        fact = ApprovalCancelled(
            document_id=DocumentId(one.event.claim_id), revision=1, cancelled_at=tx.now
        )
        tx.emit(fact, origin=one.origin)


async def consume(
    database: Database,
    settings: ServiceSettings,
    events: tuple[type[Event], ...],
    handler: Handler,
    count: int,
) -> float:
    """The loop as a service runs it, from the assignment until it has left the group; events/s."""
    left, done = count, asyncio.Event()
    gc.collect()  # what the consumer before left behind is not charged to this one

    async def handle(tx: Tx, batch: Sequence[Received[Any]]) -> None:
        nonlocal left
        await handler(tx, batch)
        left -= len(batch)
        if left == 0:
            done.set()

    consumer = Consumer(
        database, settings, group=f"bench-{uuid4()}", subscriptions=[on_batch(events, handle)]
    )
    running = asyncio.create_task(consumer.run())
    while not consumer.joined:
        await asyncio.sleep(0.001)
    began = time.perf_counter()
    await done.wait()
    await consumer.drain()
    seconds = time.perf_counter() - began
    await running
    return count / seconds


async def _bare(dsn: str, settings: ServiceSettings) -> float:
    """What one would write by hand, with no care for anything that can go wrong."""
    connection = await asyncpg.connect(dsn)
    consumer = kafka.new_consumer(settings, group=f"bench-{uuid4()}")
    consumer.subscribe([CLAIM.name])
    await consumer.start()
    began, left = time.perf_counter(), EVENTS
    while left:
        fetched = await consumer.getmany(timeout_ms=200, max_records=turns.BATCH)
        for place, records in fetched.items():
            async with connection.transaction():
                await _write(connection, records)
            await consumer.commit({place: records[-1].offset + 1})
            left -= len(records)
    await kafka.leave(consumer)
    seconds = time.perf_counter() - began
    await connection.close()
    return EVENTS / seconds


async def _write(connection: asyncpg.Connection, records: Sequence) -> None:
    now = datetime.now(UTC).isoformat()
    said = [dict(record.headers) for record in records]
    ids = [UUID(one["ce_id"].decode()) for one in said]
    claims = [json.loads(record.value)["claim_id"] for record in records]
    versions = {claim: int(one["ce_sequence"]) for claim, one in zip(claims, said, strict=True)}
    await connection.execute(
        "INSERT INTO inbox (event_id, topic, partition, kafka_offset)"
        " SELECT e, $1, $2, o FROM unnest($3::uuid[], $4::bigint[]) AS a (e, o)",
        *(records[0].topic, records[0].partition, ids, [record.offset for record in records]),
    )
    await connection.execute(
        "INSERT INTO inbox_position (topic, key, version)"
        " SELECT $1, k, v FROM unnest($2::text[], $3::bigint[]) AS a (k, v)"
        " ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version",
        *(records[0].topic, list(versions), list(versions.values())),
    )
    types = [one["ce_type"].decode() for one in said]
    await connection.execute(_EFFECT, ids, claims, types)
    await _write_facts(connection, claims, said, now)


async def _write_facts(
    connection: asyncpg.Connection, claims: list[str], said: list[dict[str, bytes]], now: str
) -> None:
    counts = Counter(claims)
    heads = await connection.fetch(
        "INSERT INTO outbox_head AS h (topic, key, version)"
        " SELECT $1, k, n FROM unnest($2::text[], $3::bigint[]) AS a (k, n)"
        " ON CONFLICT (topic, key) DO UPDATE SET version = h.version + excluded.version"
        " RETURNING key, version",
        *(APPROVAL.name, list(counts), list(counts.values())),
    )
    last = {key: version - counts[key] for key, version in heads}
    versions = []
    for claim in claims:
        last[claim] += 1
        versions.append(last[claim])
    ids = [uuid4() for _ in claims]
    await connection.execute(
        "INSERT INTO outbox (event_id, topic, key, version, type, headers, payload)"
        " SELECT e, $1, k, v, $2, h, p FROM unnest"
        " ($3::uuid[], $4::text[], $5::bigint[], $6::jsonb[], $7::bytea[]) AS a (e, k, v, h, p)",
        *(APPROVAL.name, ApprovalCancelled.TYPE, ids, claims, versions),
        [_headers(*one, now) for one in zip(ids, claims, said, strict=True)],
        [
            json.dumps({"document_id": claim, "revision": 1, "cancelled_at": now}).encode()
            for claim in claims
        ],
    )


def _headers(event_id: UUID, claim: str, cause: dict[str, bytes], now: str) -> str:
    return json.dumps(
        {
            "ce_specversion": "1.0",
            "ce_id": str(event_id),
            "ce_source": APPROVAL.source,
            "ce_type": ApprovalCancelled.TYPE,
            "ce_subject": claim,
            "ce_time": now,
            "ce_correlationid": cause["ce_correlationid"].decode(),
            "content-type": "application/json",
            "ce_causationid": cause["ce_id"].decode(),
        }
    )
