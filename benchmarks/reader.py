"""Reads one topic in a process of its own until all keys are there, and says when each arrived.

`reader.py handler|ping BOOTSTRAP DSN TOPIC COUNT`: by the chassis, or by the same client alone.
SIGTERM ends it early. Its group stays the same, so the next run begins behind this one.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from chassis import kafka, logs
from chassis.consumer import Consumer
from chassis.db import Database, Tx
from chassis.settings import ServiceSettings
from chassis.subscriptions import on
from events.claims import ClaimWithdrawn

Mark = Callable[[str], None]


async def handler(settings: ServiceSettings, _topic: str, mark: Mark, end: asyncio.Event) -> None:
    async def handle(_tx: Tx, event: ClaimWithdrawn) -> None:
        mark(event.claim_id)

    database = await Database.connect(settings.postgres_dsn.get_secret_value())
    consumer = Consumer(
        database, settings, group="bench", subscriptions=[on(ClaimWithdrawn, handle)]
    )
    running = asyncio.create_task(consumer.run())
    while not consumer.joined:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await end.wait()
    await consumer.drain()
    await running
    await database.close()


async def ping(settings: ServiceSettings, topic: str, mark: Mark, end: asyncio.Event) -> None:
    consumer = kafka.new_consumer(settings, group="bench-ping")
    consumer.subscribe([topic])
    await consumer.start()
    print("ready", flush=True)
    while not end.is_set():
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                mark(record.key.decode())
    await consumer.commit()
    await kafka.leave(consumer)


async def main(mode: str, bootstrap: str, dsn: str, topic: str, count: str) -> None:
    end, arrived = asyncio.Event(), {}
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    def mark(key: str) -> None:
        arrived.setdefault(key, time.monotonic_ns())
        if len(arrived) == int(count):
            end.set()

    settings = ServiceSettings(
        postgres_dsn=dsn, kafka_bootstrap_servers=bootstrap, oidc_issuer="http://nobody"
    )
    read: dict[str, Callable[..., Awaitable[None]]] = {"handler": handler, "ping": ping}
    await read[mode](settings, topic, mark, end)
    print(json.dumps(arrived))


if __name__ == "__main__":
    logs.configure("bench", "ERROR")
    uvloop.run(main(*sys.argv[1:]))
