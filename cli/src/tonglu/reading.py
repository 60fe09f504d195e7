"""Reading topics from outside any group: looking never moves an offset and never has an effect."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


@dataclass(frozen=True, slots=True)
class Range:
    """What to read. Times are aware; None: from the beginning, up to what is there now."""

    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None


@asynccontextmanager
async def reader(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4_194_304,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """The topic's partitions, in order; empty where there is no such topic."""
    await consumer._client.force_metadata_update()  # noqa: SLF001 -- no public way to refresh
    found = consumer.partitions_for_topic(topic) or set()
    return [TopicPartition(topic, number) for number in sorted(found)]


async def bounds(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], wanted: Range
) -> dict[TopicPartition, tuple[int, int]]:
    """For each partition the first offset to read and the one to stop before."""
    first = await consumer.beginning_offsets(places)
    end = await consumer.end_offsets(places)
    if wanted.since is not None:
        first = await _at(consumer, places, wanted.since, end)
    if wanted.until is not None:
        end = await _at(consumer, places, wanted.until, end)
    return {place: (first[place], end[place]) for place in places if first[place] < end[place]}


async def _at(
    consumer: AIOKafkaConsumer,
    places: Sequence[TopicPartition],
    moment: datetime,
    end: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    millis = int(moment.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(places, millis))
    return {place: found[place].offset if found[place] else end[place] for place in places}


async def records(
    consumer: AIOKafkaConsumer, wanted: dict[TopicPartition, tuple[int, int]]
) -> AsyncIterator[list[ConsumerRecord]]:
    """Batches between the bounds, partition by partition in offset order."""
    if not wanted:
        return
    consumer.assign(list(wanted))
    for place, (first, _) in wanted.items():
        consumer.seek(place, first)
    left = dict(wanted)
    while left:
        found = await consumer.getmany(timeout_ms=500, max_records=2000)
        for place, batch in found.items():
            _, end = wanted[place]
            yield [record for record in batch if record.offset < end]
        for place in list(left):
            if await consumer.position(place) >= wanted[place][1]:
                del left[place]
                consumer.pause(place)
