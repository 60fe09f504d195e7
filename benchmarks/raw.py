"""The bare clients that set the limits: the same settings as the chassis, and nothing else."""

import asyncio
from collections.abc import Sequence

from aiokafka.producer.message_accumulator import BatchBuilder
from chassis import kafka
from facts import Record
from servers import PARTITIONS

PAGE = 2_000


async def produce(bootstrap: str, topic: str, records: Sequence[Record]) -> None:
    """Send everything by the batch API, one page after the other, each delivery awaited."""
    producer = kafka.new_producer(bootstrap, client_id="bench")
    await producer.start()
    await producer.client.add_topic(topic)
    for start in range(0, len(records), PAGE):
        lanes: dict[int, BatchBuilder] = {}
        sent = []
        for key, headers, value in records[start : start + PAGE]:
            lane = kafka.partition_of(key, PARTITIONS)
            batch = lanes.setdefault(lane, producer.create_batch())
            fields = {"timestamp": None, "key": key.encode(), "value": value, "headers": headers}
            if batch.append(**fields) is None:
                sent.append(await producer.send_batch(batch, topic, partition=lane))
                lanes[lane] = producer.create_batch()
                lanes[lane].append(**fields)
        for lane, batch in lanes.items():
            sent.append(await producer.send_batch(batch, topic, partition=lane))
        await asyncio.gather(*sent)
    await producer.stop()
