"""One relay or consumer as a process of its own, for tests that kill it: `relay|each|batch`."""

import asyncio
import os
import sys

from bus import event_on, record_effect, record_effects, settings_for, topic_named
from chassis.consumer import Consumer
from chassis.db import Database
from chassis.relay import Relay
from chassis.subscriptions import on, on_batch


async def main(part: str) -> None:
    dsn, servers = os.environ["DSN"], os.environ["SERVERS"]
    event = event_on(topic_named(os.environ["TOPIC"]), os.environ["TYPE"])
    database = await Database.connect(dsn)
    if part == "relay":
        await Relay(database, dsn, servers, name="test").run()
    else:
        line = on_batch(event, record_effects) if part == "batch" else on(event, record_effect)
        group = os.environ["GROUP"]
        await Consumer(database, settings_for(servers), group=group, subscriptions=[line]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
