"""Drains rows into Kafka with faststream-outbox and prints the seconds; run in its own environment.

Settings are the fastest that were found: many workers, big fetches, deletions flushed together;
the Kafka side is as safe as ours (every replica, idempotent, each delivery awaited).
"""

import asyncio
import json
import logging
import sys
import time

import uvloop
from faststream.kafka import KafkaBroker
from faststream_outbox import OutboxBroker, make_outbox_table
from faststream_outbox.annotations import OutboxMessage
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

QUEUE = "bench"


async def drain(dsn: str, bootstrap: str, topic: str, rows: list[dict]) -> float:
    engine = create_async_engine(
        dsn.replace("postgresql://", "postgresql+asyncpg://"), pool_size=70
    )
    metadata = MetaData()
    table = make_outbox_table(metadata, table_name="faststream_rows")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    outbox = OutboxBroker(engine, outbox_table=table, logger=None)
    kafka = KafkaBroker(
        bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=900_000,
        logger=None,
    )
    left, done = len(rows), asyncio.Event()

    @outbox.subscriber(
        QUEUE,
        max_workers=64,
        fetch_batch_size=500,
        terminal_flush_batch_size=100,
        min_fetch_interval=0.01,
        max_fetch_interval=0.1,
    )
    async def relay(body: str, message: OutboxMessage) -> None:
        nonlocal left
        headers = dict(message.headers)
        await kafka.publish(body, topic, key=headers.pop("key").encode(), headers=headers)
        left -= 1
        if left == 0:
            done.set()

    async with AsyncSession(engine) as session, session.begin():
        for row in rows:
            headers = row["headers"] | {"key": row["key"], "content-type": "text/plain"}
            await outbox.publish(row["value"], queue=QUEUE, session=session, headers=headers)
    await kafka.connect()
    began = time.perf_counter()
    await outbox.start()
    await done.wait()
    seconds = time.perf_counter() - began
    await outbox.stop()
    await kafka.stop()
    await engine.dispose()
    return seconds


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print(uvloop.run(drain(*sys.argv[1:4], json.load(sys.stdin))))
