"""Pages of the outbox into Kafka: in order per partition, each delivery awaited."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTimestampError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.producer.message_accumulator import BatchBuilder
from pydantic_core import from_json

from chassis import kafka, metrics
from chassis.outbox import Refused

log = structlog.get_logger()
Rows = Sequence[asyncpg.Record]

# What the broker answers to a record that it will refuse tomorrow as well.
_REFUSALS = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTimestampError,
    InvalidTopicError,
)
_UNKNOWN_TOPIC_SECONDS = 10.0  # a topic that is being created appears sooner
_UNKNOWN_KEPT_SECONDS = 60.0  # how long we then take it for missing without asking
_MAX_BACKOFF_SECONDS = 5.0


@dataclass(slots=True)
class _Batch:
    rows: list[asyncpg.Record]
    builder: BatchBuilder


@dataclass(slots=True)
class Prepared:
    """A page laid out by topic and partition, the batches of each in order."""

    lanes: dict[tuple[str, int], list[_Batch]]
    refused: list[Refused]


@dataclass(slots=True)
class Publisher:
    """One producer, discarded and built anew after any error: its sequence may have a hole."""

    bootstrap_servers: str
    name: str
    _producer: AIOKafkaProducer | None = None
    _missing: dict[str, float] = field(default_factory=dict)

    async def prepare(self, rows: Rows) -> Prepared:
        """Fill the batches; waits while Kafka does not answer which topics there are."""
        refused: list[Refused] = []
        counts: dict[str, int] = {}
        for topic in {row["topic"] for row in rows}:
            counts[topic] = await self._partitions(topic)
        lanes: dict[tuple[str, int], list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            topic = row["topic"]
            if partitions := counts[topic]:
                lanes[topic, kafka.partition_of(row["key"], partitions)].append(row)
            else:
                refused.append(Refused(row, "the broker does not know the topic"))
        producer = await self._connected()
        batches = {lane: _batches(producer, its) for lane, its in lanes.items()}
        return Prepared(batches, refused)

    async def publish(self, page: Prepared) -> list[Refused]:
        """Return when each row is acknowledged by the broker or refused by it for good."""
        async with asyncio.TaskGroup() as group:
            lanes = [
                group.create_task(self._publish_lane(*lane, batches))
                for lane, batches in page.lanes.items()
            ]
        refused = page.refused + [one for lane in lanes for one in lane.result()]
        for one in refused:
            metrics.OUTBOX_PARKED.labels(one.row["topic"]).inc()
            log.error(
                "outbox row parked",
                event_id=str(one.row["event_id"]),
                topic=one.row["topic"],
                key=one.row["key"],
                reason=one.reason,
            )
        return refused

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await kafka.discard(producer)

    async def _publish_lane(
        self, topic: str, partition: int, batches: list[_Batch]
    ) -> list[Refused]:
        """One batch at a time: a later one must not overtake one that failed."""
        refused: list[Refused] = []
        todo = list(reversed(batches))
        backoff = 0.1
        while todo:
            batch = todo.pop()
            producer = await self._connected()
            error = await _deliver(producer, batch, topic, partition)
            if error is None:
                metrics.OUTBOX_PUBLISHED.labels(topic).inc(len(batch.rows))
                backoff = 0.1
                continue
            metrics.OUTBOX_ERRORS.labels(type(error).__name__).inc()
            await self._discard(producer)
            if not isinstance(error, _REFUSALS):
                log.warning("publish failed", topic=topic, error=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)
                parts: Iterable[Rows] = (batch.rows,)
            elif len(batch.rows) == 1:
                refused.append(Refused(batch.rows[0], type(error).__name__))
                continue
            else:
                half = len(batch.rows) // 2
                parts = (batch.rows[half:], batch.rows[:half])
            fresh = await self._connected()
            for rows in parts:
                todo += reversed(_batches(fresh, rows))
        return refused

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:  # another lane may have replaced it already
            await self.close()

    async def _connected(self) -> AIOKafkaProducer:
        backoff = 0.1
        while self._producer is None:
            producer = kafka.new_producer(self.bootstrap_servers, client_id=f"{self.name}-relay")
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                await kafka.discard(producer)
                log.warning("broker away", error=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)
            except BaseException:
                await kafka.discard(producer)
                raise
            else:
                if self._producer is None:
                    self._producer = producer
                else:  # another lane was faster
                    await kafka.discard(producer)
        return self._producer

    async def _partitions(self, topic: str) -> int:
        """How many the topic has; 0 when the broker has said for a while that there is none."""
        if self._missing.get(topic, 0.0) > monotonic():
            return 0
        deadline: float | None = None
        while True:
            client = (await self._connected()).client
            if found := client.cluster.partitions_for_topic(topic):
                return len(found)
            client.add_topic(topic)
            is_answered = await client.force_metadata_update()
            if found := client.cluster.partitions_for_topic(topic):
                return len(found)
            if is_answered:  # an outage says nothing about the topic
                deadline = deadline or monotonic() + _UNKNOWN_TOPIC_SECONDS
                if monotonic() > deadline:
                    self._missing[topic] = monotonic() + _UNKNOWN_KEPT_SECONDS
                    return 0
            await asyncio.sleep(0.2)


async def _deliver(
    producer: AIOKafkaProducer, batch: _Batch, topic: str, partition: int
) -> Exception | None:
    """Send one batch and wait for its acknowledgement; the error that speaks against it."""
    try:
        acknowledged = await producer.send_batch(batch.builder, topic, partition=partition)
        await acknowledged
    except (KafkaError, OSError, AssertionError) as error:  # asserts that it knows the partition
        return error
    return None


def _batches(producer: AIOKafkaProducer, rows: Rows) -> list[_Batch]:
    """The rows of one partition in as few batches as their size allows."""
    batches: list[_Batch] = []
    batch: _Batch | None = None
    for row in rows:
        record = _record(row)
        if batch is None or batch.builder.append(**record) is None:
            batch = _Batch([], producer.create_batch())
            batches.append(batch)
            batch.builder.append(**record)
        batch.rows.append(row)
    return batches


def _record(row: asyncpg.Record) -> dict[str, object]:
    headers = [(name, value.encode()) for name, value in from_json(row["headers"]).items()]
    headers.append(("ce_sequence", b"%d" % row["version"]))
    return {
        "timestamp": None,
        "key": row["key"].encode(),
        "value": row["payload"],
        "headers": headers,
    }
