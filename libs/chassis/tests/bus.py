"""What the bus tests are made of: topics, events, relays and consumers of a test's own."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from chassis.consumer import Consumer
from chassis.db import Database, Tx
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.subscriptions import Received, Subscription
from events import Event, Topic

_numbers = itertools.count(1)


def event_on(topic_: Topic, type_: str) -> Any:
    """An event class with a key and a number, made where a test needs one of its own."""

    class Happened(Event):
        TOPIC: ClassVar[Topic] = topic_
        TYPE: ClassVar[str] = type_

        key_: str
        n: int
        text: str = ""

    return Happened


def topic_named(name: str, **other: Any) -> Topic:
    return Topic(name, key="key_", owner="test", readers=(), summary="", summary_zh="", **other)


async def record_effect(tx: Tx, event: Any) -> None:
    await tx.execute("INSERT INTO effect (key, n) VALUES ($1, $2)", event.key_, event.n)


async def record_effects(tx: Tx, received: Sequence[Received[Any]]) -> None:
    await tx.executemany(
        "INSERT INTO effect (key, n) VALUES ($1, $2)",
        [(one.event.key_, one.event.n) for one in received],
    )


def settings_for(bootstrap_servers: str, **other: Any) -> ServiceSettings:
    return ServiceSettings(
        postgres_dsn="postgresql://unused",
        kafka_bootstrap_servers=bootstrap_servers,
        oidc_issuer="http://unused",
        **{"kafka_session_seconds": 6.0, **other},
    )


async def eventually(
    question: Callable[[], Awaitable[Any]], *, equals: Any = None, seconds: float = 30.0
) -> Any:
    """Ask until the answer is true, or equals what is wanted; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await question()
        if answer == equals if equals is not None else answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s it was still {answer!r}")
        await asyncio.sleep(0.05)


@dataclass(slots=True)
class Bus:
    """One topic of four partitions, one event type on it, one database with a table of effects."""

    servers: str
    dsn: str
    database: Database
    topic: Any
    event: Any
    group: str

    async def emit(self, *facts: tuple[str, int], text: str = "") -> None:
        """Emit events (key, n) in one transaction."""
        async with self.database.transaction() as tx:
            for key, n in facts:
                tx.emit(self.event(key_=key, n=n, text=text))

    @asynccontextmanager
    async def relaying(self, name: str = "test") -> AsyncIterator[Relay]:
        relay = Relay(self.database, self.dsn, self.servers, name=name)
        self.database.on_facts = relay.wake
        async with _running(relay):
            yield relay

    def consumer(
        self, *subscriptions: Subscription, database: Database | None = None, **settings: Any
    ) -> Consumer:
        return Consumer(
            database or self.database,
            settings_for(self.servers, **settings),
            group=self.group,
            subscriptions=subscriptions,
        )

    @asynccontextmanager
    async def consuming(
        self, *subscriptions: Subscription, database: Database | None = None
    ) -> AsyncIterator[Consumer]:
        consumer = self.consumer(*subscriptions, database=database)
        async with _running(consumer):
            yield consumer

    async def effects(self) -> list[tuple[str, int]]:
        rows = await self.database.pool.fetch("SELECT key, n FROM effect ORDER BY id")
        return [(row["key"], row["n"]) for row in rows]

    async def effects_of(self, key: str) -> list[int]:
        return [n for of, n in await self.effects() if of == key]

    async def count(self, table: str) -> int:
        return await self.database.pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608

    async def published(self, topic: str = "", partitions: int = 0) -> list[ConsumerRecord]:
        """All records of the topic, in the order of each partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            name = topic or self.topic.name
            places = [TopicPartition(name, p) for p in range(partitions or self.topic.partitions)]
            consumer.assign(places)
            ends, records = await consumer.end_offsets(places), []
            while len(records) < sum(ends.values()):  # nothing is deleted from these topics
                for found in (await consumer.getmany(timeout_ms=100)).values():
                    records += found
            return records
        finally:
            await consumer.stop()

    async def produce(
        self, key: str, n: int, version: int, *, event_id: UUID | None = None, **headers: str
    ) -> UUID:
        """Put one record on the topic as a relay would, but with the version that is said."""
        event_id = event_id or uuid4()
        said = {
            "ce_specversion": "1.0",
            "ce_id": str(event_id),
            "ce_type": self.event.TYPE,
            "ce_subject": key,
            "ce_time": "2026-11-24T08:00:00+00:00",
            "ce_sequence": str(version),
            **headers,
        }
        value = self.event(key_=key, n=n).model_dump_json().encode()
        await self.produce_raw(key, value, [(k, v.encode()) for k, v in said.items()])
        return event_id

    async def produce_raw(
        self, key: str, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.servers, acks="all") as producer:
            await producer.send_and_wait(
                self.topic.name, value, key=key.encode(), headers=list(headers)
            )

    async def process(self, part: str, failpoints: str = "") -> asyncio.subprocess.Process:
        """A relay or consumer as a process of its own."""
        env = {
            **os.environ,
            "FAILPOINTS": failpoints,
            "PYTHONUNBUFFERED": "1",  # its last words survive a kill
            "DSN": self.dsn,
            "SERVERS": self.servers,
            "TOPIC": self.topic.name,
            "TYPE": self.event.TYPE,
            "GROUP": self.group,
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("bus_process.py")), part, env=env
        )


@asynccontextmanager
async def _running(part: Relay | Consumer) -> AsyncIterator[None]:
    task = asyncio.ensure_future(part.run())
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(20):
                await part.drain()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def make_bus(servers: str, admin_dsn: str, database: Database, **topic: Any) -> Bus:
    number = f"{os.getpid()}-{next(_numbers)}"
    made = topic_named(f"test.bus-{number}.v1", **{"partitions": 4, **topic})
    event = event_on(made, f"test.happened-{number}.v1")
    group = f"group-{number}"
    await create_topic(servers, made.name, made.partitions, made.config())
    await create_topic(servers, made.dead_letters(group), 1, {})
    await database.pool.execute(
        "CREATE TABLE IF NOT EXISTS effect"
        " (id bigint GENERATED ALWAYS AS IDENTITY, key text NOT NULL, n int NOT NULL)"
    )
    name = await database.pool.fetchval("SELECT current_database()")
    dsn = urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{name}"))
    return Bus(servers, dsn, database, made, event, group)


async def create_topic(servers: str, name: str, partitions: int, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()
