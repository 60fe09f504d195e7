"""Kafka topics from the contracts: `python -m local_stack.topics <bootstrap servers>`."""

import asyncio
import sys
from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local_stack.room import Topic

_TOPIC_EXISTS = 36


async def create_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Create what is missing; a topic that exists is left as it is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        reply = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, 1, topic_configs=dict(topic.config))
                for topic in topics
            ]
        )
    finally:
        await admin.close()
    refused = [
        f"{name}: {message or code}"
        for name, code, message in reply.topic_errors
        if code not in (0, _TOPIC_EXISTS)
    ]
    if refused:
        raise RuntimeError("Kafka refused topics: " + "; ".join(refused))


def contract_topics() -> tuple[Topic, ...]:
    """Every topic of the contracts, dead letters included."""
    from events import topic_specs

    return tuple(Topic(spec.name, spec.partitions, spec.config) for spec in topic_specs())


if __name__ == "__main__":
    asyncio.run(create_topics(sys.argv[1], contract_topics()))
