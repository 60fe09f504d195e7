"""Takes due submissions, calls the OA with no transaction open, and records what it said."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import structlog
from chassis import Database
from chassis.failpoints import failpoint
from events import TenantId

from oa_connector import domain, handlers, store
from oa_connector.domain import Patience, State, SubmitOutcome
from oa_connector.store import Taken
from oa_connector.vendors import ApprovalPort, OAError

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How the loops run; durations in seconds.

    `call` bounds one call. `lease` is longer than two, a create and its read-back: nobody else
    may take a row while a call for it can still take effect.
    """

    poll: float = 0.2
    call: float = 12.0
    lease: float = 30.0
    at_once: int = 8
    probe_every: float = 6 * 3600
    probe_again: float = 60.0
    keep_callbacks: timedelta = timedelta(days=30)


Work = Callable[[Database, ApprovalPort, Taken], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """All loops over all OAs. One OA that is slow or down delays nobody but itself."""

    oas: Mapping[TenantId, ApprovalPort]
    patience: Patience = field(default_factory=Patience)
    pace: Pace = field(default_factory=Pace)

    async def deliver(self, database: Database, draining: asyncio.Event) -> None:
        """Run until draining; what is in flight is finished and recorded."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._refuse_strangers(database, draining))
                for tenant in self.oas:
                    loops.create_task(self._probe(database, draining, tenant))
                    for lane in (
                        _Lane(self, tenant, store.SENDING, self._send),
                        _Lane(self, tenant, store.FOLLOWING, self._follow),
                    ):
                        loops.create_task(lane.run(database, draining))
        finally:
            for oa in self.oas.values():
                await oa.close()

    async def _send(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Create the process, or look for the one that an earlier create may have begun."""
        if taken.submission.state is State.RESOLVING:
            await self._look_up(database, oa, taken)
            return
        result = await self._within(oa.submit(taken.submission))
        await failpoint("oa.after_create")
        if result.outcome is SubmitOutcome.ACCEPTED:
            named = replace(taken.submission, instance_id=result.instance_id)
            await self._look_up(database, oa, replace(taken, submission=named))
            return
        async with database.transaction(taken.origin) as tx:
            await handlers.record_refusal(tx, taken.submission, result, self.patience)

    async def _look_up(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Search by business key: reads back what was created, and ends what is there twice."""
        submission = taken.submission
        found = await self._within(oa.resolve(submission.business_key))
        kept = domain.keeper(found, submission.content_hash)
        for extra in found:
            if kept is not None and extra is not kept and extra.is_open:
                reason = f"duplicate of {kept.instance_id}"
                await self._within(oa.withdraw(extra.instance_id, reason))
        async with database.transaction(taken.origin) as tx:
            await handlers.record_lookup(tx, submission, found, self.patience)

    async def _follow(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Read the process; end it first where that is wanted."""
        submission = taken.submission
        if submission.instance_id is None:
            raise ValueError(f"{submission.business_key} is {submission.state} without a process")
        if submission.state is State.WITHDRAWING:
            reason = submission.withdraw_reason or ""
            snapshot = await self._within(oa.withdraw(submission.instance_id, reason))
        else:
            snapshot = await self._within(oa.fetch(submission.instance_id))
        async with database.transaction(taken.origin) as tx:
            await handlers.record_snapshot(tx, submission, snapshot, self.patience)

    async def _within(self, call: Awaitable[T]) -> T:
        """One call of an OA, cut off where a lease could run out under it."""
        try:
            async with asyncio.timeout(self.pace.call):
                return await call
        except TimeoutError as late:
            raise OAError(f"no answer within {self.pace.call} s") from late

    async def _probe(self, database: Database, draining: asyncio.Event, tenant: TenantId) -> None:
        """Ask the OA for its version now and then, and forget old callbacks."""
        while not draining.is_set():
            version, error = None, None
            try:
                version = await self._within(self.oas[tenant].probe())
            except OAError as silence:
                error = str(silence)
            log.info("oa probed", tenant=tenant, version=version, error=error)
            try:
                async with database.transaction() as tx:
                    await store.save_tenant(tx, tenant, version=version, error=error)
                    await store.forget_callbacks(tx, tx.now - self.pace.keep_callbacks)
            except store.AWAY as away:
                error = str(away)
                log.warning("database away", error=type(away).__name__)
            await _pause(draining, self.pace.probe_again if error else self.pace.probe_every)

    async def _refuse_strangers(self, database: Database, draining: asyncio.Event) -> None:
        while not draining.is_set():
            try:
                async with database.transaction() as tx:
                    await handlers.refuse_strangers(tx, list(self.oas))
            except store.AWAY as away:
                log.warning("database away", error=type(away).__name__)
            await _pause(draining, self.pace.poll * 5)


@dataclass(slots=True)
class _Lane:
    """One kind of work for one OA: as many rows at once as its pace allows, never more."""

    delivery: Delivery
    tenant: TenantId
    states: Sequence[State]
    work: Work
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, database: Database, draining: asyncio.Event) -> None:
        stop = asyncio.ensure_future(draining.wait())
        pace = self.delivery.pace
        while not draining.is_set():
            taken = await self._take(database, pace.at_once - len(self.running))
            self.running |= {asyncio.create_task(self._one(database, one)) for one in taken}
            # With free places and nothing due only the clock brings work; else a place must free.
            await asyncio.wait(
                {stop, *self.running}, timeout=pace.poll, return_when=asyncio.FIRST_COMPLETED
            )
            self.running = {task for task in self.running if not task.done()}
        stop.cancel()
        await asyncio.gather(*self.running)

    async def _take(self, database: Database, free: int) -> list[Taken]:
        if free <= 0:
            return []
        lease = timedelta(seconds=self.delivery.pace.lease)
        try:
            async with database.transaction() as tx:
                return await store.take_due(tx, self.tenant, self.states, limit=free, lease=lease)
        except store.AWAY as away:
            log.warning("database away", error=type(away).__name__)
            return []

    async def _one(self, database: Database, taken: Taken) -> None:
        """Work on one row. Whatever breaks here, its lease runs out and it is taken up again."""
        delivery, submission = self.delivery, taken.submission
        about = log.bind(document_id=submission.document_id, revision=submission.revision)
        try:
            try:
                await self.work(database, delivery.oas[self.tenant], taken)
            except OAError as silence:
                about.warning("oa silent", tenant=self.tenant, error=str(silence))
                async with database.transaction(taken.origin) as tx:
                    await handlers.record_silence(tx, submission, str(silence), delivery.patience)
        except store.AWAY as away:
            about.warning("database away", error=type(away).__name__)
        except Exception:  # noqa: BLE001 -- one broken row must not stop the others
            about.exception("delivery failed", state=submission.state)


async def _pause(draining: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(draining.wait(), seconds)
