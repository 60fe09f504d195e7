"""The service's own database: one transaction per message or request, and the facts it emits."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import asyncpg
from asyncpg.pgproto.pgproto import UUID
from events import MAX_PAYLOAD_BYTES, Envelope, Event, EventId
from msgspec import Struct, json
from uuid_utils import uuid7

from chassis.failpoints import failpoint
from chassis.telemetry import traceparent

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

_HEADS = """
WITH fact AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[])
        WITH ORDINALITY AS f (event_id, topic, key, type, headers, payload, n)
), head AS (
    INSERT INTO outbox_head AS h (topic, key, version)
    SELECT topic, key, count(*) FROM fact GROUP BY topic, key ORDER BY topic, key
    ON CONFLICT (topic, key) DO UPDATE SET version = h.version + excluded.version
    RETURNING topic, key, version
)"""
_INSERT_FACTS = """
INSERT INTO outbox (event_id, topic, key, version, type, headers, payload)
SELECT f.event_id, f.topic, f.key,
       h.version - count(*) OVER same_key
           + row_number() OVER (PARTITION BY f.topic, f.key ORDER BY f.n),
       f.type, f.headers, f.payload
  FROM fact f JOIN head h ON h.topic = f.topic AND h.key = f.key
WINDOW same_key AS (PARTITION BY f.topic, f.key)
 ORDER BY f.n
"""


# It let another transaction go first (a deadlock): this one alone is to be tried again.
GAVE_WAY = asyncpg.TransactionRollbackError

# What a database that is down, stopping or saturated looks like from here, or one that let another
# go first: the same again, a little later, may succeed.
AWAY: tuple[type[Exception], ...] = (
    TimeoutError,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    GAVE_WAY,
)


class EventTooLargeError(ValueError):
    """An event's JSON is over the limit that every topic can carry."""


class Origin(Struct, frozen=True):
    """Where a fact comes from; kept in a due row, it survives the way through a delivery loop.

    `correlation_id`: the document at the head of the road; None: the fact's own key.
    """

    correlation_id: str | None = None
    causation_id: EventId | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class Tx:
    """One open transaction: the store reads and writes through it, a handler emits through it.

    What is emitted leaves with the commit, numbered per key, or not at all.
    """

    connection: Connection
    now: datetime
    origin: Origin = field(default_factory=Origin)
    _events: list[Event] = field(default_factory=list)
    _facts: list[tuple[Any, ...]] = field(default_factory=list)  # of these the rows to write

    def emit(self, event: Event, *, origin: Origin | None = None) -> EventId:
        """Say that this has happened; `origin` only where one transaction serves several causes.

        Raises:
            EventTooLargeError: the JSON is 900,000 bytes or more.
        """
        cause = origin or self.origin
        envelope = Envelope(
            id=_new_id(),
            time=self.now,
            sequence=0,
            correlation_id=cause.correlation_id or event.key,
            event=event,
            causation_id=cause.causation_id,
            traceparent=cause.traceparent,
        )
        headers, payload = envelope.headers(), envelope.value()
        del headers["ce_sequence"]  # numbered by the database, added by the relay
        if len(payload) >= MAX_PAYLOAD_BYTES:
            raise EventTooLargeError(f"{event.TYPE}: {len(payload)} bytes, at most 899,999")
        place = envelope.id, event.TOPIC.name, headers["ce_subject"], event.TYPE
        self._facts.append((*place, json.encode(headers).decode(), payload))
        self._events.append(event)
        return envelope.id

    @property
    def emitted(self) -> tuple[Event, ...]:
        """What this transaction has emitted so far."""
        return tuple(self._events)

    @contextlib.contextmanager
    def caused_by(self, origin: Origin) -> Iterator[None]:
        """Emit on behalf of this cause for a while; the consumer wraps each event so."""
        before, self.origin = self.origin, origin
        try:
            yield
        finally:
            self.origin = before

    async def write_facts(self) -> None:
        """Write what was emitted into the outbox. The chassis calls this just before the commit."""
        if self._facts:
            await self.connection.execute(_HEADS + _INSERT_FACTS, *self._taken())

    async def write_facts_and(self, insert: str, *values: Any) -> str:
        """The same, and another INSERT in the same round trip; its parameters begin at $7.

        Returns PostgreSQL's word on that INSERT, which counts its rows.
        """
        both = f"{_HEADS}, said AS ({_INSERT_FACTS}) {insert}"
        return await self.connection.execute(both, *self._taken(), *values)

    def _taken(self) -> list[Sequence[Any]]:
        """The columns of what was emitted, which is on its way from here on."""
        facts, self._facts = self._facts, []
        return list(zip(*facts, strict=True)) or [()] * 6

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        return await self.connection.fetch(query, *values)

    async def fetchrow(self, query: str, *values: Any) -> asyncpg.Record | None:
        return await self.connection.fetchrow(query, *values)

    async def fetchval(self, query: str, *values: Any) -> Any:
        return await self.connection.fetchval(query, *values)

    async def execute(self, query: str, *values: Any) -> str:
        return await self.connection.execute(query, *values)

    async def executemany(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        await self.connection.executemany(query, rows)


def _new_id() -> EventId:
    # A uuid.UUID as the driver makes it: made, written and sent in a tenth of the time.
    return EventId(UUID(uuid7().bytes))


def _now() -> datetime:
    return datetime.now(UTC)


async def _keep(_connection: object) -> None:
    """No reset at release: no one sets session state on a pooled connection; saves a round trip."""


@dataclass(slots=True)
class Database:
    """The pool, and the only place that opens and commits a transaction."""

    pool: asyncpg.Pool
    clock: Callable[[], datetime] = _now
    acquire_timeout: float = 5.0
    on_facts: Callable[[], None] | None = None  # wakes the relay; a hint, never a promise

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        size: int = 10,
        acquire_timeout: float = 5.0,
        command_timeout: float = 30.0,
    ) -> Self:
        """Open the pool. Every acquire and every command has a deadline, in seconds."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            command_timeout=command_timeout,
            timeout=acquire_timeout,
            reset=_keep,
            server_settings={
                "application_name": "tonglu",
                "timezone": "UTC",
                # A process that is stopped inside a transaction must not hold its locks for ever.
                "idle_in_transaction_session_timeout": "30s",
                "tcp_user_timeout": "30s",
                # Every statement has its index. One that is first planned for an empty table would
                # walk through it row by row until autovacuum has looked, a minute or a bulk later.
                "enable_seqscan": "off",
            },
        )
        return cls(pool=pool, acquire_timeout=acquire_timeout)

    @contextlib.asynccontextmanager
    async def transaction(self, origin: Origin | None = None) -> AsyncIterator[Tx]:
        """One transaction: committed with its facts on the way out, rolled back on an exception."""
        async with (
            self.pool.acquire(timeout=self.acquire_timeout) as connection,
            connection.transaction(),
        ):
            tx = Tx(
                connection=connection,
                now=self.clock(),
                origin=origin or Origin(traceparent=traceparent()),
            )
            yield tx
            await tx.write_facts()
            await failpoint("tx.before_commit")
        await failpoint("tx.after_commit")
        if tx.emitted and self.on_facts is not None:
            self.on_facts()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[Tx]:
        """For a single query, which is a transaction of its own: two round trips less.

        Raises:
            RuntimeError: something was emitted, which nothing here would keep.
        """
        async with self.pool.acquire(timeout=self.acquire_timeout) as connection:
            tx = Tx(connection=connection, now=self.clock())
            yield tx
            if tx.emitted:
                raise RuntimeError("a fact was emitted where no transaction keeps it")

    async def close(self) -> None:
        await self.pool.close()
