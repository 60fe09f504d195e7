"""Kafka clients, built in one place: every setting that matters is set by name."""

import asyncio
from functools import lru_cache
from itertools import chain
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ProducerClosed
from aiokafka.partitioner import murmur2

from chassis.settings import ServiceSettings

log = structlog.get_logger()
# Below the smallest max.message.bytes of any topic, so that only a single record can be too big.
MAX_BATCH_BYTES = 900_000
_REQUEST_MS = 20_000
_REBALANCE_MS = 60_000
_DISCARD_SECONDS = 2.0
_LEAVE_SECONDS = 5.0


def new_producer(bootstrap_servers: str, *, client_id: str) -> AIOKafkaProducer:
    """An idempotent producer that waits for every replica in sync."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_BATCH_BYTES * 2,  # the broker refuses what is too big, and says so
        linger_ms=0,
        request_timeout_ms=_REQUEST_MS,
        retry_backoff_ms=100,
        metadata_max_age_ms=60_000,
    )


def new_consumer(settings: ServiceSettings, *, group: str) -> AIOKafkaConsumer:
    """A member of the group that commits nothing by itself and skips no backlog."""
    session_ms = int(settings.kafka_session_seconds * 1000)
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id=group,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=max(session_ms // 10, 100),
        rebalance_timeout_ms=_REBALANCE_MS,
        max_poll_interval_ms=300_000,
        request_timeout_ms=max(_REQUEST_MS, session_ms + 5_000),
        retry_backoff_ms=100,
        metadata_max_age_ms=60_000,
        fetch_max_wait_ms=100,
        fetch_min_bytes=1,
        fetch_max_bytes=16 * 1024 * 1024,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        check_crcs=True,
    )


async def discard(producer: AIOKafkaProducer) -> None:
    """Drop a producer with what it still holds: an idempotent one would retry for ever.

    Whoever waits for a delivery gets ProducerClosed; it may have arrived all the same.
    """
    # The client has no public way to give up: stop() waits for every batch, and lets the
    # cancellation of its own sender out into whoever called it.
    producer._closed = True  # noqa: SLF001
    _give_up(producer._message_accumulator)  # noqa: SLF001
    sender = producer._sender.sender_task  # noqa: SLF001
    if sender is not None:
        sender.cancel()
        await asyncio.wait({sender}, timeout=_DISCARD_SECONDS)
    await producer.client.close()
    if sender is not None:
        sender.cancel()
        await asyncio.wait({sender})


def _give_up(accumulator: Any) -> None:
    accumulator.fail_all(ProducerClosed())
    for batch in (*accumulator._pending_batches, *chain(*accumulator._batches.values())):  # noqa: SLF001
        for future in (batch.future, batch._drain_waiter):  # noqa: SLF001
            if future.done():
                future.exception()  # seen: its waiter may have been cancelled


async def leave(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and close, within a few seconds; never raises."""
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({stopping}, timeout=_LEAVE_SECONDS)
    stopping.cancel()
    await asyncio.wait({stopping})
    if not stopping.cancelled() and (error := stopping.exception()) is not None:
        log.warning("left the group the hard way", error=type(error).__name__)


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """Where the Java client would put this key, too."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


__all__ = [
    "MAX_BATCH_BYTES",
    "ConsumerRebalanceListener",
    "discard",
    "leave",
    "new_consumer",
    "new_producer",
    "partition_of",
]
