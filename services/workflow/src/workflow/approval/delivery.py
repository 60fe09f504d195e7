"""What time brings, by the database's clock: deadlines of tasks, windows of stand-ins, leavers.

Each is acted on in one transaction with the row that planned it: once, whichever process comes
first and wherever one dies. Nothing is called outside.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from chassis import Database
from chassis.db import AWAY
from chassis.failpoints import failpoint
from prometheus_client import Counter

from workflow.approval import handlers, store
from workflow.standin import handlers as standin_handlers

log = structlog.get_logger()
FAILURES = Counter(
    "tonglu_workflow_due_failures_total",
    "Deadlines and windows of stand-ins that could not be acted on and were put off.",
    ("kind",),
)


async def deliver(
    database: Database,
    draining: asyncio.Event,
    *,
    poll: float = 1.0,
    put_off: timedelta = timedelta(minutes=1),
    sweep: float = 60.0,
) -> None:
    """Run until draining; what has begun is finished.

    `poll`: seconds between looks when nothing is due. `put_off`: for what fails, so that one row
    does not stop the others. `sweep`: seconds between looks for tasks of people who have left.
    """
    async with asyncio.TaskGroup() as lanes:
        lanes.create_task(_lane(lambda: _move(database, put_off), draining, poll))
        lanes.create_task(_lane(lambda: _act(database, put_off), draining, poll))
        lanes.create_task(_lane(lambda: _forget(database), draining, poll))
        lanes.create_task(_lane(lambda: _sweep(database), draining, sweep))


async def _lane(act: Callable[[], Awaitable[bool]], draining: asyncio.Event, poll: float) -> None:
    """Act for as long as there is something to do, then look now and then."""
    while not draining.is_set():
        try:
            found = await act()
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
            found = False
        if not found:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), poll)


async def _act(database: Database, put_off: timedelta) -> bool:
    """Act on one deadline; False: none has come."""
    due = None
    try:
        async with database.transaction() as tx:
            # Whose turn it is now must not hang on the clock of this process.
            tx.now = await store.now(tx)
            due = await store.take_due(tx)
            if due is not None:
                await handlers.overdue(tx, due)
                await failpoint("due.acted")
    except AWAY:
        raise
    except Exception:
        if due is None:
            raise
        log.exception("deadline put off", id=due.task_id)
        FAILURES.labels("deadline").inc()
        async with database.transaction() as tx:
            await store.put_off_due(tx, due, put_off)
    return due is not None


async def _move(database: Database, put_off: timedelta) -> bool:
    """Move the open tasks of one person who is away; False: no window asks for it."""
    window = None
    try:
        async with database.transaction() as tx:
            tx.now = await store.now(tx)
            window = await standin_handlers.take_window(tx)
            if window is not None:
                await handlers.reassign_for_window(tx, window)
                await failpoint("window.moved")
    except AWAY:
        raise
    except Exception:
        if window is None:
            raise
        log.exception("window put off", id=window.id)
        FAILURES.labels("window").inc()
        async with database.transaction() as tx:
            await standin_handlers.put_off_window(tx, window, put_off)
    return window is not None


async def _forget(database: Database) -> bool:
    """Drop deadlines of tasks that ended before them; whether there were any."""
    async with database.transaction() as tx:
        return await store.forget_dues(tx) > 0


async def _sweep(database: Database) -> bool:
    """What reached a leaver while the news of their leaving was on its way; False: that is all."""
    async with database.transaction() as tx:
        await handlers.reroute_leavers(tx)
    return False
