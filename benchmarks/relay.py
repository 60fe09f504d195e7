"""The relay's drain rate beside a bare aiokafka batch producer sending the same bytes."""

import asyncio
import time
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

from aiokafka.producer.message_accumulator import BatchBuilder
from chassis import kafka
from chassis.relay import Relay
from events import ClaimId, EmployeeId, Envelope, EventId, Money
from events.claims import CLAIM, ClaimSubmitted, ExpenseLine
from harness import Figure, interleave
from servers import Servers

EVENTS = 40_000
KEYS = 2_000
PAGE = 2_000


def submitted(number: int, key: str) -> ClaimSubmitted:
    """A claim of two lines, as the demo's."""
    line = {"spent_on": date(2026, 11, 18), "city": "上海"}
    money = Money(amount=Decimal("553.00"), currency="CNY")
    return ClaimSubmitted(
        claim_id=ClaimId(key),
        revision=1,
        employee_id=EmployeeId(f"E{number % 997}"),
        title="上海客户拜访",
        lines=(
            ExpenseLine(line_no=1, category="train", amount=money, **line),
            ExpenseLine(line_no=2, category="hotel", amount=money, **line),
        ),
        total=Money(amount=Decimal("1106.00"), currency="CNY"),
        content_hash="a" * 64,
        submitted_at=datetime(2026, 11, 24, 9, 0, tzinfo=UTC),
    )


def record(number: int) -> tuple[str, list[tuple[str, bytes]], bytes]:
    """Key, headers and value as the relay sends them."""
    key = f"claim-{number % KEYS:06d}"
    envelope = Envelope(
        id=EventId(uuid.uuid4()),
        time=datetime(2026, 11, 24, 9, 0, tzinfo=UTC),
        sequence=number // KEYS + 1,
        correlation_id=key,
        event=submitted(number, key),
    )
    headers = [(name, value.encode()) for name, value in envelope.headers().items()]
    return key, headers, envelope.value()


async def raw_batches(bootstrap: str, records: list) -> float:
    """The limit: the same settings and bytes, laid out in memory, one page after the other."""
    producer = kafka.new_producer(bootstrap, client_id="bench")
    await producer.start()
    await producer.client.add_topic(CLAIM.name)
    began = time.perf_counter()
    for start in range(0, len(records), PAGE):
        lanes: dict[int, BatchBuilder] = {}
        sent = []
        for key, headers, value in records[start : start + PAGE]:
            lane = kafka.partition_of(key, CLAIM.partitions)
            batch = lanes.setdefault(lane, producer.create_batch())
            fields = {"timestamp": None, "key": key.encode(), "value": value, "headers": headers}
            if batch.append(**fields) is None:
                sent.append(await producer.send_batch(batch, CLAIM.name, partition=lane))
                lanes[lane] = producer.create_batch()
                lanes[lane].append(**fields)
        for lane, batch in lanes.items():
            sent.append(await producer.send_batch(batch, CLAIM.name, partition=lane))
        await asyncio.gather(*sent)
    seconds = time.perf_counter() - began
    await producer.stop()
    return len(records) / seconds


async def measure(at: Servers) -> list[Figure]:
    await at.topic(CLAIM.name, CLAIM.partitions)
    dsn, database = await at.database("bench_relay")
    records = [record(number) for number in range(EVENTS)]

    async def limit() -> float:
        return await raw_batches(at.bootstrap, records)

    async def system() -> float:
        await database.pool.execute("TRUNCATE outbox, outbox_head")
        for start in range(0, EVENTS, 1000):
            async with database.transaction() as tx:
                for number in range(start, start + 1000):
                    tx.emit(submitted(number, f"claim-{number % KEYS:06d}"))
        await database.pool.execute("VACUUM ANALYZE outbox")
        relay = Relay(database, dsn, at.bootstrap, name="bench")
        running = asyncio.create_task(relay.run())
        while not relay.leading:
            await asyncio.sleep(0.001)  # noqa: ASYNC110 -- leading is a flag, not an event
        began = time.perf_counter()
        await relay.drain()
        seconds = time.perf_counter() - began
        await running
        return EVENTS / seconds

    figure = Figure("relay drain", "events/s", "raw batch produce", 0.40)
    await interleave(figure, limit, system)
    await database.close()
    return [figure]
