"""Apache Kafka, one node in KRaft mode: broker and controller in one Java process."""

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from local_stack.java import JAVA, class_path, fetch_all
from local_stack.places import RECIPES
from local_stack.process import Process
from local_stack.room import Room, Topic
from local_stack.topics import create_topics

_RECIPE = RECIPES / "kafka"
_PROBE = "local.probe"
_PROBE_SECONDS = 10.0

# One node: nothing to replicate to, and nobody to wait for when a group forms.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


def prepare(room: Room) -> Process:
    """Fetch the jars and, the first time, format the storage."""
    class_path_env = {"CLASSPATH": class_path(fetch_all(_RECIPE, room.say))}
    bootstrap = f"127.0.0.1:{room.port('kafka.broker')}"
    controller = f"127.0.0.1:{room.port('kafka.controller')}"
    properties = room.folder / "server.properties"
    settings = SETTINGS | {
        "listeners": f"PLAINTEXT://{bootstrap},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{bootstrap}",
        "controller.quorum.bootstrap.servers": controller,
        "log.dirs": str(room.folder / "data"),
    }
    properties.write_text("".join(f"{name}={text}\n" for name, text in settings.items()))
    if not (room.folder / "data" / "meta.properties").exists():
        room.say("format storage")
        _format(properties, class_path_env)
    return Process(
        name="kafka",
        command=(str(JAVA), *room.options.kafka_java, "kafka.Kafka", str(properties)),
        env=class_path_env,
        ready=ready(bootstrap, room.options.topics),
        provides={"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
    )


def _format(properties: Path, class_path_env: dict[str, str]) -> None:
    cluster = uuid.uuid4().hex[:22]
    tool = (str(JAVA), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format")
    subprocess.run(  # noqa: S603 -- the command is ours
        [*tool, "--standalone", "-t", cluster, "-c", str(properties)],
        env=class_path_env,
        check=True,
        capture_output=True,
    )


def ready(bootstrap: str, topics: Iterable[Topic] = ()) -> Callable[[], Awaitable[None]]:
    """A probe: a record went in and came out through a consumer group, and the topics exist.

    An open port is not enough: the group coordinator comes up later than the listener.
    """

    async def probe() -> None:
        await _listens(bootstrap)
        await create_topics(bootstrap, [Topic(_PROBE, 1), *topics])
        await _round_trip(bootstrap)

    return probe


async def _listens(bootstrap: str) -> None:
    """The clients log every refused connection as an error, so do not let them try too early."""
    host, port = bootstrap.split(",", maxsplit=1)[0].rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()


async def _round_trip(bootstrap: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    consumer = AIOKafkaConsumer(
        _PROBE,
        bootstrap_servers=bootstrap,
        group_id=f"{_PROBE}.{uuid.uuid4().hex}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await producer.start()
        await producer.send_and_wait(_PROBE, b"ready")
        await consumer.start()
        if not await consumer.getmany(timeout_ms=int(_PROBE_SECONDS * 1000)):
            raise TimeoutError("the probe record did not come back")
    finally:
        await consumer.stop()
        await producer.stop()
