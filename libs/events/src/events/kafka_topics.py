"""The Kafka topics that must exist: the contracts' own, and dead letters for each reader."""

from dataclasses import dataclass
from datetime import timedelta

from events.event import topics
from events.topic import Pii, Topic

DEAD_LETTER_PARTITIONS = 3  # looked at by people: order across keys does not matter
DEAD_LETTER_RETENTION = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as the broker is asked to make it.

    `config` is the same on every cluster; `min_insync_replicas` asks for three brokers.
    """

    name: str
    partitions: int
    config: dict[str, str]
    min_insync_replicas: int
    owner: str  # the only service that may write it
    readers: tuple[str, ...]
    pii: Pii


def topic_specs() -> tuple[TopicSpec, ...]:
    """Every topic to create, by name."""
    events = [_of_events(topic) for topic in topics()]
    letters = [_of_dead_letters(topic, group) for topic in topics() for group in topic.readers]
    return tuple(sorted(events + letters, key=lambda spec: spec.name))


def _of_events(topic: Topic) -> TopicSpec:
    return TopicSpec(
        name=topic.name,
        partitions=topic.partitions,
        config=topic.config(),
        min_insync_replicas=topic.min_insync_replicas,
        owner=topic.owner,
        readers=topic.readers,
        pii=topic.pii,
    )


def _of_dead_letters(topic: Topic, group: str) -> TopicSpec:
    """The copies carry what the source carries; the group that parks a key writes them."""
    return TopicSpec(
        name=topic.dead_letters(group),
        partitions=DEAD_LETTER_PARTITIONS,
        config={
            "cleanup.policy": "delete",
            "max.message.bytes": str(topic.max_message_bytes),
            "retention.ms": str(int(DEAD_LETTER_RETENTION.total_seconds() * 1000)),
        },
        min_insync_replicas=topic.min_insync_replicas,
        owner=group,
        readers=(),
        pii=topic.pii,
    )
