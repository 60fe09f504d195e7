"""Keeps the chassis tables small: weekly partitions ahead, old ones dropped, aged rows deleted."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from chassis import metrics
from chassis.db import Database, Tx

log = structlog.get_logger()
OUTBOX_KEPT = timedelta(days=35)
INBOX_KEPT = timedelta(days=90)  # longer than any redelivery; versions protect afterwards
IDEMPOTENCY_KEPT = timedelta(days=7)
_WEEKS_AHEAD = 4
_PAGE = 2000
_EVERY_SECONDS = 3600.0

_OLD_PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'outbox'::regclass AND c.relname ~ '^outbox_\\d{8}$' AND c.relname < $1
 ORDER BY c.relname
"""
# What the cursor has passed, and nobody still has to look at.
_DONE = """
    pg_visible_in_snapshot(o.xid, (SELECT closed FROM outbox_cursor)::pg_snapshot)
    AND NOT EXISTS (SELECT FROM outbox_parked p WHERE p.seq = o.seq)
"""


async def run(database: Database, *, outbox_kept: timedelta = OUTBOX_KEPT) -> None:
    """Tidy now and every hour; a round that fails is told and tried again."""
    while True:
        try:
            await tidy(database, outbox_kept=outbox_kept)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            metrics.UPKEEP_ERRORS.inc()
            log.warning("upkeep failed", exc_info=error)
        await asyncio.sleep(_EVERY_SECONDS)


async def tidy(database: Database, *, outbox_kept: timedelta = OUTBOX_KEPT) -> None:
    """One round, each step in transactions of its own."""
    now = database.clock()
    for week in range(1, _WEEKS_AHEAD + 1):
        await _add_partition(database, _monday(now) + timedelta(weeks=week))
    await _drop_partitions(database, _monday(now - outbox_kept - timedelta(weeks=1)))
    await _delete_aged(database, now, outbox_kept)


def _monday(day: datetime) -> datetime:
    midnight = day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=midnight.weekday())


async def _add_partition(database: Database, start: datetime) -> None:
    """Only weeks to come: the default partition has no row of theirs that would forbid it."""
    name, end = f"outbox_{start:%Y%m%d}", start + timedelta(weeks=1)
    try:
        async with database.transaction() as tx:
            if await tx.fetchval("SELECT to_regclass($1)", name) is not None:
                return
            await _be_brief(tx)
            await tx.execute(
                f"CREATE TABLE {name} PARTITION OF outbox"
                f" FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )
            await tx.execute(f"CREATE UNIQUE INDEX {name}_version ON {name} (topic, key, version)")
    except asyncpg.CheckViolationError:
        # A clock ran ahead: the default partition keeps that week, and serves it as well.
        log.warning("outbox partition left out", partition=name)


async def _drop_partitions(database: Database, before: datetime) -> None:
    async with database.transaction() as tx:
        names = await tx.fetch(_OLD_PARTITIONS, f"outbox_{before:%Y%m%d}")
    for (name,) in names:
        async with database.transaction() as tx:
            await _be_brief(tx)
            left = await tx.fetchval(
                f"SELECT EXISTS (SELECT FROM {name} o WHERE NOT ({_DONE}))"  # noqa: S608 -- from the catalogue
            )
            if not left:
                await tx.execute(f"DROP TABLE {name}")
                log.info("outbox partition dropped", partition=name)


async def _delete_aged(database: Database, now: datetime, outbox_kept: timedelta) -> None:
    await _delete(database, "outbox_default o", f"created_at < $1 AND {_DONE}", now - outbox_kept)
    await _delete(database, "inbox o", "received_at < $1", now - INBOX_KEPT)
    await _delete(database, "idempotency o", "created_at < $1", now - IDEMPOTENCY_KEPT)


async def _delete(database: Database, table: str, condition: str, before: datetime) -> None:
    """In pages, so that no lock is held for long."""
    statement = (
        f"DELETE FROM {table} WHERE ctid = ANY (ARRAY("  # noqa: S608 -- constants of this module
        f"SELECT ctid FROM {table} WHERE {condition} LIMIT {_PAGE}))"
    )
    while True:
        async with database.transaction() as tx:
            deleted = await tx.execute(statement, before)
        if deleted != f"DELETE {_PAGE}":
            return


async def _be_brief(tx: Tx) -> None:
    # A new or dropped partition locks the outbox: rather wait an hour than hold up a claim.
    await tx.execute("SET LOCAL lock_timeout = '2s'")
