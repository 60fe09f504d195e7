"""All SQL of the outbox: leadership, the snapshot cursor, its pages, and parked rows.

The cursor goes from one snapshot to the next, not from one number to the next: a sequence value
is taken before the commit, so a lower one may become visible after a higher one. A window holds
what the open snapshot sees and the closed one does not, in the order of `seq`, which follows the
lock on each key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

PAGE = 2000
_LEADER_LOCK = 5_210_644_015_679_228_674  # any constant, the same in every process

_COLUMNS = "seq, event_id, topic, key, version, headers, payload"
# The first page of a window, by the index on xid, with the snapshot that it was read in: the
# window's end. `seq + 0` keeps the planner from walking the whole table in the order of the other
# index when it takes the window for bigger than it is.
_OPEN = f"""
SELECT {_COLUMNS}, (SELECT pg_current_snapshot()::text) AS ends FROM outbox
 WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot)
    OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
 ORDER BY seq + 0
 LIMIT {PAGE}
"""  # noqa: S608 -- the parts are constants
# The same window from `seq` on. Written so that only the index on seq serves it: a page costs a
# page, however large the backlog.
_CONTINUE = f"""
SELECT {_COLUMNS} FROM outbox
 WHERE NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
   AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
   AND seq > $3
 ORDER BY seq
 LIMIT {PAGE}
"""  # noqa: S608 -- the parts are constants


_MOVE = "UPDATE outbox_cursor SET closed = $1, open = $2, page = $3, moved_at = now()"


class RestoredError(RuntimeError):
    """The database was restored into a younger server: transaction numbers began again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """All up to `closed` is published, and what `open` sees besides, up to `page`."""

    closed: str
    open: str | None
    page: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows to publish in this order, and where the cursor stands once they are."""

    rows: Sequence[asyncpg.Record]
    after: Cursor
    is_idle: bool  # there was nothing, and the cursor need not be saved


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the broker will never take."""

    row: asyncpg.Record
    reason: str


async def connect(dsn: str, name: str) -> asyncpg.Connection:
    """A connection outside the pool: a session lock and LISTEN must not be handed round."""
    return await asyncpg.connect(
        dsn,
        timeout=5,
        command_timeout=300,  # the first page after a long outage sorts the whole backlog
        server_settings={
            "application_name": f"relay of {name}",
            "timezone": "UTC",
            "tcp_user_timeout": "30s",
            # Plans by the values at hand: a general one takes a window for a third of the table.
            "plan_cache_mode": "force_custom_plan",
            "enable_seqscan": "off",
            "max_parallel_workers_per_gather": "0",
            # A lost move of the cursor costs duplicates, which the inbox takes.
            "synchronous_commit": "off",
        },
    )


async def try_lead(connection: asyncpg.Connection) -> bool:
    """Take the leader's lock if no other session has it; it is ours until we disconnect."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LEADER_LOCK))


async def hint(connection: asyncpg.Connection) -> None:
    """Tell the leader, in whichever process, that there are facts."""
    await connection.execute("SELECT pg_notify('outbox', '')")


async def cursor(connection: asyncpg.Connection) -> Cursor:
    """Where the relay stands.

    Raises:
        RestoredError: the cursor lies in the future of this server's transaction numbers.
    """
    row = await connection.fetchrow(
        "SELECT closed, open, page, pg_snapshot_xmax(closed::pg_snapshot)"
        " > pg_snapshot_xmax(pg_current_snapshot()) AS ahead FROM outbox_cursor"
    )
    if row is None:
        raise LookupError("outbox_cursor is empty: the migration of the chassis fills it")
    if row["ahead"]:
        raise RestoredError(
            "the outbox cursor is ahead of this server's transactions, as after a dump and"
            " restore: with all services stopped, empty the outbox tables of what was"
            " published and set outbox_cursor.closed to '1:1:'"
        )
    return Cursor(row["closed"], row["open"], row["page"])


async def read(connection: asyncpg.Connection, at: Cursor) -> Page:
    """The page after this cursor; of a new window when the last one is done."""
    if at.open is not None:
        rows = await connection.fetch(_CONTINUE, at.closed, at.open, at.page)
        ends = at.open
    elif rows := await connection.fetch(_OPEN, at.closed):
        ends = rows[0]["ends"]
    else:
        return Page(rows, at, is_idle=True)
    if len(rows) < PAGE:
        after = Cursor(closed=ends, open=None, page=0)
    else:
        after = Cursor(closed=at.closed, open=ends, page=rows[-1]["seq"])
    return Page(rows, after, is_idle=False)


async def save(connection: asyncpg.Connection, at: Cursor, refused: Sequence[Refused]) -> None:
    """Move the cursor and park what was refused, on the connection that holds the lock."""
    if not refused:
        await connection.execute(_MOVE, at.closed, at.open, at.page)
        return
    async with connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = on")
        await _park(connection, refused)
        await connection.execute(_MOVE, at.closed, at.open, at.page)


async def _park(connection: asyncpg.Connection, refused: Sequence[Refused]) -> None:
    await connection.executemany(
        "INSERT INTO outbox_parked (seq, event_id, topic, key, reason)"
        " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (seq) DO NOTHING",
        [
            (one.row["seq"], one.row["event_id"], one.row["topic"], one.row["key"], one.reason)
            for one in refused
        ],
    )
