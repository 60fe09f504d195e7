"""The servers of a benchmark run: fresh, durable, alone."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.db import Database
from chassis.migrate import CHASSIS, migrate
from local_stack import kafka, postgres
from local_stack.places import CACHE
from local_stack.room import Options, Topic
from local_stack.stack import Stack

FOLDER = CACHE / "bench"
PARTITIONS = 6


@dataclass(frozen=True, slots=True)
class Servers:
    """A PostgreSQL with fsync and a Kafka, for this run only."""

    bootstrap: str
    admin_dsn: str

    async def database(self, name: str, *more: Path, size: int = 10) -> tuple[str, Database]:
        """A fresh migrated database."""
        await postgres.drop_database(self.admin_dsn, name)
        dsn = await postgres.create_database(self.admin_dsn, name)
        await migrate(dsn, [CHASSIS, *more])
        return dsn, await Database.connect(dsn, size=size)

    async def topic(self, name: str, partitions: int = PARTITIONS) -> None:
        await kafka.create_topics(self.bootstrap, [Topic(name, partitions)])


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Start both, and stop them in the end."""
    stack = Stack(FOLDER, Options(kafka_java=("-Xms256m", "-Xmx768m", "-XX:+UseG1GC")))
    try:
        found = await stack.up(["postgres", "kafka"], elsewhere={})
        yield Servers(found["KAFKA_BOOTSTRAP_SERVERS"], found["POSTGRES_DSN"])
    finally:
        await stack.down()
        shutil.rmtree(FOLDER, ignore_errors=True)
