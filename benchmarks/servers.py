"""The servers of a benchmark run: fresh, durable, alone."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from chassis.db import Database
from chassis.migrate import CHASSIS, migrate
from events import topics
from local_stack import kafka, postgres
from local_stack.places import CACHE
from local_stack.room import Options, Topic
from local_stack.stack import Stack

FOLDER = CACHE / "bench"
PARTITIONS = 6
# A checkpoint in the middle of a round would meet only one of the two.
_SETTINGS = {"max_wal_size": "4GB", "checkpoint_timeout": "30min"}


@dataclass(frozen=True, slots=True)
class Servers:
    """A PostgreSQL with fsync and a Kafka, for this run only."""

    bootstrap: str
    admin_dsn: str
    stack: Stack

    async def database(self, name: str, *more: Path, size: int = 10) -> tuple[str, Database]:
        """A fresh migrated database."""
        await postgres.drop_database(self.admin_dsn, name)
        dsn = await postgres.create_database(self.admin_dsn, name)
        await migrate(dsn, [CHASSIS, *more])
        return dsn, await Database.connect(dsn, size=size)

    async def topic(self, name: str) -> None:
        """A topic of one benchmark, beside those of the contracts, which exist."""
        await kafka.create_topics(self.bootstrap, [Topic(name, PARTITIONS)])


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Start both, with every topic of the contracts, and stop them in the end."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    java = ("-Xms256m", "-Xmx768m", "-XX:+UseG1GC")
    contracts = tuple(Topic(topic.name, PARTITIONS) for topic in topics())
    stack = Stack(FOLDER, Options(kafka_java=java, topics=contracts))
    try:
        found = await stack.up(["postgres", "kafka"], elsewhere={})
        await _set(found["POSTGRES_DSN"])
        yield Servers(found["KAFKA_BOOTSTRAP_SERVERS"], found["POSTGRES_DSN"], stack)
    finally:
        await stack.down()
        shutil.rmtree(FOLDER, ignore_errors=True)


async def _set(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    for name, value in _SETTINGS.items():
        await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()
