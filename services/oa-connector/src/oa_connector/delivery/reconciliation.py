"""Comparing everything with an OA every few minutes: what callbacks missed, and what is astray."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from chassis import Database
from chassis.db import AWAY
from events import InstanceId, TenantId

from oa_connector import domain, handlers, store
from oa_connector.delivery.pace import Pace, pause
from oa_connector.domain import (
    Cycle,
    Instance,
    Page,
    Sight,
    Snapshot,
    Status,
    Submission,
    Window,
)
from oa_connector.store import Taken
from oa_connector.vendors import (
    ApprovalPort,
    ContractError,
    NotSentError,
    OAError,
    RefusedError,
    is_away,
)

log = structlog.get_logger()
T = TypeVar("T")

Follow = Callable[[Database, ApprovalPort, Taken], Coroutine[None, None, None]]


@dataclass(slots=True)
class _Scan:
    """What one reading of an OA's list came to; whole: nothing of it is to be listed again."""

    listed: int = 0
    ghosts: int = 0
    is_whole: bool = True
    troubles: list[OAError] = field(default_factory=list)


@dataclass(slots=True)
class Reconciliation:
    """The cycles of one OA. `follow` reads one process and records what it shows.

    `doubt` hears what the OA answered instead; each question goes through the `door` of the OA.
    Draining ends a cycle between two calls.
    """

    tenant: TenantId
    oa: ApprovalPort
    pace: Pace
    follow: Follow
    doubt: Callable[[OAError], None]
    door: AbstractAsyncContextManager[object]
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, database: Database, draining: asyncio.Event) -> None:
        self.draining = draining
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
            except Exception:  # one OA's broken comparison must not stop the others
                log.exception("reconciliation failed", tenant=self.tenant)

    async def cycle(self, database: Database) -> Cycle:
        """One whole comparison: the OA's lists, then our own open set, page by page.

        What cannot be read holds up nothing else. An OA that is not reached at all is not asked
        for each process of ours.

        Raises:
            OAError: the first that went wrong; what was compared stands.
        """
        async with self._alone:
            troubles = await self._end_wanted(database)
            listed = ghosts = read = 0
            for sight in (Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE):
                if sight in self.oa.capabilities.sights:
                    scan = await self._scan(database, sight)
                    listed, ghosts = listed + scan.listed, ghosts + scan.ghosts
                    troubles += scan.troubles
            if not any(is_away(trouble) for trouble in troubles):
                read = await self._read_open(database)
            for trouble in troubles:
                self.doubt(trouble)
            if troubles:
                raise troubles[0]
            return Cycle(listed, read, ghosts)

    async def _scan(self, database: Database, sight: Sight) -> "_Scan":
        """What the OA lists; the mark moves only where all of it was compared, mended or told."""
        async with database.transaction() as tx:
            mark, now = await store.mark(tx, self.tenant, sight), tx.now
        window = self._window(mark, now)
        scan, page = _Scan(), Page(())
        while not self.draining.is_set():
            before = page
            try:
                page = await self._ask(self.oa.scan(sight, window, before.next))
                if page.next is not None and page == before:
                    raise ContractError("a list that does not go on")
            except OAError as trouble:
                scan.troubles.append(trouble)
                scan.is_whole = False
                break
            await self._compare(database, page, scan)
            if page.next is None:
                break
        if scan.is_whole and not self.draining.is_set():
            # Until the OA's first answer its clock is taken for ours: perhaps it is slow.
            until = min(window.ends, self._window(mark, now).ends)
            async with database.transaction() as tx:
                await store.move_mark(tx, self.tenant, sight, until)
        return scan

    async def _compare(self, database: Database, page: Page, scan: "_Scan") -> None:
        found = await self._compared(database, page.instances)
        scan.listed += len(page.instances)
        for submission, ghost in found:
            if self.draining.is_set():
                return
            try:
                reason = f"duplicate of {submission.instance_id}"
                snapshot = await self._end(database, submission.business_key, ghost, reason)
            except NotSentError as trouble:  # it is listed again
                scan.troubles.append(trouble)
                scan.is_whole = False
                continue
            except OAError as trouble:  # a person would not hear of it otherwise
                scan.troubles.append(trouble)
                snapshot = Snapshot(Status.UNKNOWN)
            if snapshot is not None:
                async with database.transaction() as tx:
                    scan.ghosts += await handlers.record_ghost(tx, submission, ghost, snapshot)

    async def _compared(
        self, database: Database, listed: Sequence[Instance]
    ) -> list[tuple[Submission, InstanceId]]:
        """The ghosts. What breaks here is found by comparing one by one, and left out."""
        try:
            async with database.transaction() as tx:
                return await handlers.reconcile(tx, self.tenant, listed)
        except AWAY:
            raise
        except Exception:
            if len(listed) == 1:
                log.exception("not compared", tenant=self.tenant, instance=listed[0].instance_id)
                return []
        return [ghost for one in listed for ghost in await self._compared(database, [one])]

    async def _end(
        self, database: Database, key: str, instance: InstanceId, reason: str
    ) -> Snapshot | None:
        """What the OA shows of it then; None: it may be our own, since it was listed."""
        async with database.transaction() as tx:
            if await store.may_be_ours(tx, self.tenant, key, instance):
                return None
        return await self._ask(self.oa.withdraw(instance, reason))

    async def _ask(self, call: Awaitable[T]) -> T:
        async with self.door:
            return await self.pace.within(call, holds_row=False)

    def _window(self, mark: datetime | None, now: datetime) -> Window:
        return domain.window_since(mark, now, self.oa.clock_offset, self.pace.overlap)

    async def _end_wanted(self, database: Database) -> list[OAError]:
        """What is to end that is not ours, or not any more; what went wrong."""
        async with database.transaction() as tx:
            wanted = await store.to_withdraw(tx, self.tenant)
        troubles: list[OAError] = []
        for case in wanted:
            about = case.difference
            if about.instance_id is None or self.draining.is_set():
                continue
            snapshot, reason = None, case.note or about.drift
            try:
                snapshot = await self._end(database, about.business_key, about.instance_id, reason)
                if snapshot is None:
                    continue
            except (ContractError, RefusedError) as trouble:
                troubles.append(trouble)
                snapshot = Snapshot(Status.UNKNOWN)
            except OAError as trouble:
                troubles.append(trouble)
                if isinstance(trouble, NotSentError):
                    continue  # nor has the OA been silent to it
            async with database.transaction() as tx:
                await handlers.record_end(tx, case, snapshot)
        return troubles

    async def _read_open(self, database: Database) -> int:
        """Read each process of our open set that was not read since the last cycle.

        As many at once as the pace allows; the next is taken when one of them is done.
        """
        read, after = 0, ""
        at_once = self.pace.rows_at_once(self.oa.capabilities.calls_per_minute)
        reading: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                async with self.door:
                    page = await self._take(database, after, at_once - len(reading))
                    if not page:
                        return read
                    reading |= {
                        group.create_task(self.follow(database, self.oa, taken)) for taken in page
                    }
                    read, after = read + len(page), page[-1].submission.business_key
                    if len(reading) == at_once:
                        done = asyncio.FIRST_COMPLETED
                        _, reading = await asyncio.wait(reading, return_when=done)

    async def _take(self, database: Database, after: str, limit: int) -> list[Taken]:
        if self.draining.is_set():
            return []
        unread = timedelta(seconds=self.pace.reconcile_every)
        lease = timedelta(seconds=self.pace.lease)
        async with database.transaction() as tx:
            return await store.take_open(
                tx, (self.tenant, after), tx.now - unread, limit=limit, lease=lease
            )
