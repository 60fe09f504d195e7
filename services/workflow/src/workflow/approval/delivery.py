"""What time brings, by the database's clock: deadlines of tasks, and windows of stand-ins.

Each is acted on in one transaction with the row that planned it: once, whichever process comes
first and wherever one dies. Nothing is called outside.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import structlog
from chassis import Database, Tx
from chassis.db import AWAY
from chassis.failpoints import failpoint
from prometheus_client import Counter

from workflow.approval import handlers, store
from workflow.approval.domain import Due
from workflow.standin import handlers as standin_handlers
from workflow.standin.domain import Window

log = structlog.get_logger()
FAILURES = Counter(
    "tonglu_workflow_due_failures_total",
    "Deadlines and windows of stand-ins that could not be acted on and were put off.",
    ("kind",),
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """One kind of row that falls due: how to take one, what it brings, how to put it off."""

    name: str
    take: Callable[[Tx], Awaitable[T | None]]
    act: Callable[[Tx, T], Awaitable[None]]
    put_off: Callable[[Tx, T, timedelta], Awaitable[None]]


async def deliver(
    database: Database,
    draining: asyncio.Event,
    *,
    poll: float = 1.0,
    put_off: timedelta = timedelta(minutes=1),
) -> None:
    """Run until draining; what has begun is finished.

    `poll`: seconds between looks when nothing is due. `put_off`: for what fails, so that one row
    does not stop the others.
    """
    async with asyncio.TaskGroup() as lanes:
        lanes.create_task(_lane(lambda: _act(database, _WINDOW, put_off), draining, poll))
        lanes.create_task(_lane(lambda: _act(database, _DUE, put_off), draining, poll))
        lanes.create_task(_lane(lambda: _forget(database), draining, poll))


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


async def _act(database: Database, kind: _Kind[T], put_off: timedelta) -> bool:
    """Act on one row of this kind; False: none is due."""
    row = None
    try:
        async with database.transaction() as tx:
            # Whose turn it is now must not hang on the clock of this process.
            tx.now = await store.now(tx)
            row = await kind.take(tx)
            if row is not None:
                await kind.act(tx, row)
                await failpoint("due.acted")
    except AWAY:
        raise
    except Exception:
        if row is None:
            raise
        log.exception("due row put off", kind=kind.name)
        FAILURES.labels(kind.name).inc()
        async with database.transaction() as tx:
            await kind.put_off(tx, row, put_off)
    return row is not None


async def _forget(database: Database) -> bool:
    """Drop deadlines of tasks that ended before them; whether there were any."""
    async with database.transaction() as tx:
        return await store.forget_dues(tx) > 0


_WINDOW: _Kind[Window] = _Kind(
    "window",
    standin_handlers.take_window,
    handlers.reassign_for_window,
    standin_handlers.put_off_window,
)
_DUE: _Kind[Due] = _Kind("deadline", store.take_due, handlers.overdue, store.put_off_due)
