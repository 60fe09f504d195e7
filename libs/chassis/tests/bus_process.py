"""One relay or consumer as a process of its own, for tests that kill it: `relay|consumer`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from chassis.consumer import Consumer
from chassis.db import Database, Tx
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.subscriptions import Received, Subscription, on, on_batch
from events import Event, Topic


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


def settings(bootstrap_servers: str, **other: Any) -> ServiceSettings:
    return ServiceSettings(
        postgres_dsn="postgresql://unused",
        kafka_bootstrap_servers=bootstrap_servers,
        oidc_issuer="http://unused",
        **{"kafka_session_seconds": 6.0, **other},
    )


async def main(part: str) -> None:
    dsn, servers = os.environ["DSN"], os.environ["SERVERS"]
    event = event_on(topic_named(os.environ["TOPIC"]), os.environ["TYPE"])
    database = await Database.connect(dsn)
    if part == "relay":
        await Relay(database, dsn, servers, name="test").run()
    else:
        subscriptions: list[Subscription] = [
            on_batch(event, record_effects) if part == "batch" else on(event, record_effect)
        ]
        group = os.environ["GROUP"]
        await Consumer(database, settings(servers), group=group, subscriptions=subscriptions).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
