"""Comparing everything with an OA every few minutes: what callbacks missed, and what is astray."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from chassis import Database
from chassis.db import AWAY
from events import TenantId

from oa_connector import domain, handlers, store
from oa_connector.delivery.pace import Pace, pause
from oa_connector.domain import Cycle, Sight, Status, Window
from oa_connector.handlers import Ghost
from oa_connector.store import Taken
from oa_connector.vendors import ApprovalPort, OAError

log = structlog.get_logger()

Follow = Callable[[Database, ApprovalPort, Taken], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The cycles of one OA. `follow` reads one process and records what it shows."""

    tenant: TenantId
    oa: ApprovalPort
    pace: Pace
    follow: Follow
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, database: Database, draining: asyncio.Event) -> None:
        while not draining.is_set():
            await pause(draining, self.pace.reconcile_every)
            if draining.is_set():
                return
            try:
                found = await self.cycle(database)
                log.info("reconciled", tenant=self.tenant, read=found.read, ghosts=found.ghosts)
            except OAError as silence:
                log.warning("reconciliation cut short", tenant=self.tenant, error=str(silence))
            except AWAY as away:
                log.warning("database away", error=type(away).__name__)

    async def cycle(self, database: Database) -> Cycle:
        """One whole comparison: the OA's lists, then our own open set, page by page.

        Raises:
            OAError: the OA fell silent; what was compared until then stands.
        """
        async with self._alone:
            await self._end_orphans(database)
            listed = ghosts = 0
            for sight in (Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE):
                if sight in self.oa.capabilities.sights:
                    some, ended = await self._scan(database, sight)
                    listed, ghosts = listed + some, ghosts + ended
            return Cycle(listed, await self._read_open(database), ghosts)

    async def _scan(self, database: Database, sight: Sight) -> tuple[int, int]:
        window = await self._window(database, sight)
        cursor: str | None = None
        listed = ghosts = 0
        while True:
            page = await self.pace.within(self.oa.scan(sight, window, cursor))
            async with database.transaction() as tx:
                found = await handlers.reconcile(tx, self.tenant, page.instances)
            for ghost in found:
                ghosts += await self._end_ghost(database, ghost)
            listed, cursor = listed + len(page.instances), page.next
            if cursor is None:
                break
        async with database.transaction() as tx:
            await store.move_mark(tx, self.tenant, sight, window.ends)
        return listed, ghosts

    async def _window(self, database: Database, sight: Sight) -> Window:
        async with database.transaction() as tx:
            mark = await store.mark(tx, self.tenant, sight)
            now = tx.now
        return domain.window_since(mark, now, self.oa.clock_offset, self.pace.overlap)

    async def _end_ghost(self, database: Database, ghost: Ghost) -> bool:
        reason = f"duplicate of {ghost.submission.instance_id}"
        snapshot = await self.pace.within(self.oa.withdraw(ghost.instance.instance_id, reason))
        if snapshot.status is Status.PENDING:
            return False
        async with database.transaction() as tx:
            await handlers.record_ghost(tx, ghost)
        return True

    async def _end_orphans(self, database: Database) -> None:
        """What a person wants ended that was never ours."""
        async with database.transaction() as tx:
            wanted = await store.to_withdraw(tx, self.tenant)
        for case in wanted:
            if (instance := case.difference.instance_id) is None:
                continue
            snapshot = await self.pace.within(self.oa.withdraw(instance, case.note or "orphan"))
            if snapshot.status is not Status.PENDING:
                async with database.transaction() as tx:
                    await store.case_done(tx, case.id)

    async def _read_open(self, database: Database) -> int:
        """Read each process of our open set that was not read since the last cycle.

        As many at once as the pace allows; the next is taken when one of them is done.
        """
        read, after = 0, ""
        reading: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while page := await self._take(database, after, self.pace.at_once - len(reading)):
                reading |= {
                    group.create_task(self.follow(database, self.oa, taken)) for taken in page
                }
                read, after = read + len(page), page[-1].submission.business_key
                if len(reading) == self.pace.at_once:
                    _, reading = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        return read

    async def _take(self, database: Database, after: str, limit: int) -> list[Taken]:
        unread = timedelta(seconds=self.pace.reconcile_every)
        lease = timedelta(seconds=self.pace.lease)
        async with database.transaction() as tx:
            return await store.take_open(
                tx, (self.tenant, after), tx.now - unread, limit=limit, lease=lease
            )
