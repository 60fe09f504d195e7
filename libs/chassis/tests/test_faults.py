"""The bus while its servers are paused, stopped and killed: nothing lost, one effect each."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from bus import Bus, eventually, make_bus, record_effect
from chassis.db import Database
from chassis.migrate import CHASSIS, migrate
from chassis.subscriptions import on


@pytest.fixture
async def fragile(own_kafka: Any, own_postgres: Any) -> AsyncIterator[Bus]:
    """A bus on servers that nobody else uses."""
    dsn = await own_postgres.create_database(f"fragile_{os.urandom(4).hex()}")
    await migrate(dsn, [CHASSIS])
    # The test server does without; here a commit must survive the server, as in production.
    name = dsn.rsplit("/", 1)[1]
    admin = await asyncpg.connect(dsn)
    await admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = on')
    await admin.close()
    database = await Database.connect(dsn, size=5, acquire_timeout=2)
    yield await make_bus(own_kafka.bootstrap_servers, own_postgres.dsn, database)
    await database.close()


async def test_a_broker_paused_beyond_the_session_timeout_is_rejoined(
    fragile: Bus, own_kafka: Any
) -> None:
    bus = fragile
    async with bus.relaying(), bus.consuming(on(bus.event, record_effect)):
        await bus.emit(*(("k", n) for n in range(5)))
        await eventually(lambda: bus.count("effect"), equals=5)
        own_kafka.server.pause()
        await bus.emit(*(("k", n) for n in range(5, 10)))
        await asyncio.sleep(8)  # the session lasts 6 seconds
        own_kafka.server.resume()
        await eventually(lambda: bus.count("effect"), equals=10, seconds=60)
        await bus.emit(*(("k", n) for n in range(10, 15)))
        await eventually(lambda: bus.count("effect"), equals=15, seconds=60)
    assert await bus.effects_of("k") == list(range(15))


async def test_a_broker_killed_and_started_again_costs_nothing(
    fragile: Bus, own_kafka: Any
) -> None:
    bus = fragile
    async with bus.relaying(), bus.consuming(on(bus.event, record_effect)):
        await bus.emit(*(("k", n) for n in range(5)))
        await eventually(lambda: bus.count("effect"), equals=5)
        await own_kafka.server.kill()
        await bus.emit(*(("k", n) for n in range(5, 10)))
        await own_kafka.server.start()
        await eventually(lambda: bus.count("effect"), equals=10, seconds=60)
    assert await bus.effects_of("k") == list(range(10))


async def test_a_database_stopped_at_once_in_the_middle_of_batches_resumes(
    fragile: Bus, own_postgres: Any
) -> None:
    bus, emitted = fragile, 0

    async def slowly(tx: Any, event: Any) -> None:
        await record_effect(tx, event)
        await asyncio.sleep(0.01)

    async with bus.relaying(), bus.consuming(on(bus.event, slowly)):
        for n in range(100):
            await bus.emit(("k", n))
            emitted += 1
        await eventually(lambda: bus.count("effect"))
        await own_postgres.stop_immediate()
        await own_postgres.start()
        await eventually(lambda: bus.count("effect"), equals=100, seconds=60)
    assert await bus.effects_of("k") == list(range(100))
    assert await bus.count("inbox_parked") == 0
