"""The servers of a benchmark run: fresh, durable, alone."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from chassis.db import Database
from chassis.migrate import CHASSIS, migrate
from events import topics
from local_stack import kafka, postgres
from local_stack.places import CACHE
from local_stack.room import Options, Topic
from local_stack.stack import Stack

FOLDER = CACHE / "bench"
PARTITIONS = 6
_TOPICS = tuple(Topic(topic.name, PARTITIONS) for topic in topics())
_POSTGRES = (
    "shared_buffers=1GB",  # as on a server; what it has by itself is for a laptop
    # A checkpoint in the middle of a round would meet only one of the two.
    *("max_wal_size=4GB", "checkpoint_timeout=30min"),
)


@dataclass(frozen=True, slots=True)
class Servers:
    """A PostgreSQL with fsync and a Kafka, for this run only."""

    bootstrap: str
    admin_dsn: str
    _opened: list[Database] = field(default_factory=list)

    async def database(self, name: str, *more: Path) -> tuple[str, Database]:
        """A fresh migrated database, open until the end of the run."""
        await postgres.drop_database(self.admin_dsn, name)
        dsn = await postgres.create_database(self.admin_dsn, name)
        await migrate(dsn, [CHASSIS, *more])
        database = await Database.connect(dsn)
        self._opened.append(database)
        return dsn, database

    async def analyze(self) -> None:
        """What autovacuum does within a minute on a server in use, and too late for a round.

        Until then statements are planned for the tables as they were when empty.
        """
        for database in self._opened:
            await database.pool.execute("ANALYZE")

    def close(self) -> None:
        for database in self._opened:
            database.pool.terminate()

    async def topic(self, name: str) -> None:
        """A topic of one benchmark, beside those of the contracts."""
        await kafka.create_topics(self.bootstrap, [Topic(name, PARTITIONS)])

    async def empty_topics(self) -> None:
        """Make every topic of the contracts anew, so that no part reads what another has left."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.delete_topics([topic.name for topic in _TOPICS])
        await admin.close()
        await kafka.create_topics(self.bootstrap, _TOPICS)


@asynccontextmanager
async def servers() -> AsyncIterator[Servers]:
    """Start both, and stop them in the end."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    java = ("-Xms256m", "-Xmx768m", "-XX:+UseG1GC")
    stack = Stack(FOLDER, Options(kafka_java=java, postgres=_POSTGRES, topics=_TOPICS))
    try:
        found = await stack.up(["postgres", "kafka"], elsewhere={})
        at = Servers(found["KAFKA_BOOTSTRAP_SERVERS"], found["POSTGRES_DSN"])
        try:
            yield at
        finally:
            at.close()
    finally:
        await stack.down()
        shutil.rmtree(FOLDER, ignore_errors=True)
