"""Copies of parked events on `<topic>.dlq.<group>`: for eyes and alarms, never read back."""

import asyncio
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from chassis import kafka, metrics, parked
from chassis.db import Database
from chassis.parked import ToCopy

log = structlog.get_logger()
_LOOK_SECONDS = 1.0
_MISSING_TOPIC_SECONDS = 60.0


@dataclass(slots=True)
class DeadLetters:
    """Sends what is parked in the partitions that this member holds, at least once each."""

    database: Database
    bootstrap_servers: str
    group: str
    held: Container[TopicPartition]
    _producer: AIOKafkaProducer | None = None
    _missing_until: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except (KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("dead letters wait", error=type(error).__name__)
                await self.close()
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await kafka.discard(producer)

    async def _look(self) -> None:
        async with self.database.transaction() as tx:
            keys, oldest = await parked.census(tx)
            letters = await parked.to_copy(tx) if keys else []
            age = tx.now - oldest if oldest else timedelta()
        metrics.PARKED_KEYS.set(keys)
        metrics.PARKED_OLDEST_SECONDS.set(age.total_seconds())
        for letter in letters:
            if TopicPartition(letter.topic, letter.partition) in self.held:
                await self._copy(letter)

    async def _copy(self, letter: ToCopy) -> None:
        topic = f"{letter.topic}.dlq.{self.group}"
        if self._missing_until.get(topic, 0.0) > monotonic():
            return
        producer = await self._connected()
        producer.client.add_topic(topic)
        await producer.client.force_metadata_update()
        if not producer.client.cluster.partitions_for_topic(topic):
            self._missing_until[topic] = monotonic() + _MISSING_TOPIC_SECONDS
            log.warning("topic of dead letters missing", topic=topic)
            return
        await producer.send_and_wait(
            topic, letter.payload, key=letter.key.encode(), headers=letter.headers(self.group)
        )
        async with self.database.transaction() as tx:
            await parked.copied(tx, letter)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = kafka.new_producer(self.bootstrap_servers, client_id=f"{self.group}-dlq")
            try:
                await producer.start()
            except BaseException:
                await kafka.discard(producer)
                raise
            self._producer = producer
        return self._producer
