"""Kafka topics from the contracts: `python -m local_stack.topics <bootstrap servers>`."""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from local_stack.room import Topic

_TOPIC_EXISTS = 36
_LEADER_SECONDS = 20.0


async def create_topics(bootstrap: str, topics: Iterable[Topic]) -> None:
    """Create what is missing and wait until every partition has a leader.

    A topic that exists is left as it is.
    """
    wanted = list(topics)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        reply = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, 1, topic_configs=dict(topic.config))
                for topic in wanted
            ]
        )
        _refuse_errors(reply.topic_errors)
        await _wait_for_leaders(admin, {topic.name for topic in wanted})
    finally:
        await admin.close()


def _refuse_errors(answers: Iterable[tuple[str, int, str | None]]) -> None:
    refused = [
        f"{name}: {message or code}"
        for name, code, message in answers
        if code not in (0, _TOPIC_EXISTS)
    ]
    if refused:
        raise RuntimeError("Kafka refused topics: " + "; ".join(refused))


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    async with asyncio.timeout(_LEADER_SECONDS):
        while True:
            described = await admin.describe_topics(list(names))
            if all(topic["partitions"] and _is_led(topic) for topic in described):
                return
            await asyncio.sleep(0.05)


def _is_led(topic: dict[str, Any]) -> bool:
    return all(partition["leader"] >= 0 for partition in topic["partitions"])


def contract_topics() -> tuple[Topic, ...]:
    """Every topic of the contracts, dead letters included."""
    from events import topic_specs

    return tuple(Topic(spec.name, spec.partitions, spec.config) for spec in topic_specs())


if __name__ == "__main__":
    asyncio.run(create_topics(sys.argv[1], contract_topics()))
