"""All loops over all OAs: sending, following, probing, reconciling."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from chassis import Database
from chassis.db import AWAY
from chassis.failpoints import failpoint
from events import TenantId

from oa_connector import domain, handlers, store
from oa_connector.delivery.pace import Pace, pause
from oa_connector.delivery.probing import Probe
from oa_connector.delivery.reconciliation import Reconciliation
from oa_connector.domain import (
    Ability,
    Idempotency,
    Instance,
    Patience,
    State,
    Submission,
    SubmitOutcome,
)
from oa_connector.store import Taken
from oa_connector.vendors import ApprovalPort, ContractError, NotSentError, OAError

log = structlog.get_logger()

Work = Callable[[Database, ApprovalPort, Taken], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """All loops over all OAs. One OA that is slow or down delays nobody but itself."""

    oas: Mapping[TenantId, ApprovalPort]
    patience: Patience = field(default_factory=Patience)
    pace: Pace = field(default_factory=Pace)
    probes: dict[TenantId, Probe] = field(default_factory=dict)

    async def deliver(self, database: Database, draining: asyncio.Event) -> None:
        """Run until draining; what is in flight is finished and recorded."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._refuse_strangers(database, draining))
                for tenant, oa in self.oas.items():
                    probe = self.probes[tenant] = Probe(tenant, oa, self.pace)
                    loops.create_task(probe.run(database, draining))
                    loops.create_task(self.reconciliation(tenant).run(database, draining))
                    for lane in (
                        _Lane(self, tenant, store.SENDING, self._send),
                        _Lane(self, tenant, store.FOLLOWING, self.follow),
                    ):
                        loops.create_task(lane.run(database, draining))
        finally:
            for oa in self.oas.values():
                await oa.close()

    def reconciliation(self, tenant: TenantId) -> Reconciliation:
        return Reconciliation(tenant, self.oas[tenant], self.pace, self.work_on)

    async def follow(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Read the process; tell its people and end it first where that is wanted."""
        submission = taken.submission
        if submission.instance_id is None:
            raise ValueError(f"{submission.business_key} is {submission.state} without a process")
        instance_id = submission.instance_id
        submission = await self._annotated(oa, submission)
        if submission.state is State.WITHDRAWING and submission.farewell is not None:
            snapshot = await self.pace.within(oa.withdraw(instance_id, submission.farewell.reason))
        else:
            snapshot = await self.pace.within(oa.fetch(instance_id))
        await failpoint("oa.after_fetch")
        async with database.transaction(taken.origin) as tx:
            await handlers.record_snapshot(tx, submission, snapshot, self._patience(oa))

    async def work_on(
        self, database: Database, oa: ApprovalPort, taken: Taken, work: Work | None = None
    ) -> None:
        """Work on one row. Whatever breaks here, its lease runs out and it is taken up again."""
        submission = taken.submission
        about = log.bind(business_key=submission.business_key, tenant=submission.tenant)
        try:
            try:
                await (work or self.follow)(database, oa, taken)
            except OAError as silence:
                about.warning("oa silent", error=str(silence))
                self._doubt(submission.tenant, silence)
                async with database.transaction(taken.origin) as tx:
                    await handlers.record_silence(tx, submission, str(silence), self._patience(oa))
        except AWAY as away:
            about.warning("database away", error=type(away).__name__)
        except Exception:  # noqa: BLE001 -- one broken row must not stop the others
            about.exception("delivery failed", state=submission.state)

    def _doubt(self, tenant: TenantId, silence: OAError) -> None:
        """An answer of an unknown shape: perhaps the OA is not what it was."""
        if isinstance(silence, ContractError) and tenant in self.probes:
            self.probes[tenant].soon()

    def _patience(self, oa: ApprovalPort) -> Patience:
        return replace(self.patience, idempotency=oa.capabilities.idempotency)

    async def _send(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Create the process, or look for the one that an earlier create may have begun."""
        if taken.submission.state is State.RESOLVING:
            await self._look_up(database, oa, taken)
            return
        result = await self.pace.within(oa.submit(taken.submission.command))
        await failpoint("oa.after_create")
        if result.outcome is SubmitOutcome.ACCEPTED:
            named = replace(taken.submission, instance_id=result.instance_id)
            await self._look_up(database, oa, replace(taken, submission=named))
            return
        async with database.transaction(taken.origin) as tx:
            await handlers.record_refusal(tx, taken.submission, result, self._patience(oa))

    async def _look_up(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Search by business key: reads back what was created, and ends what is there twice."""
        submission = taken.submission
        found = await self._found(oa, submission)
        kept = domain.keeper(found, submission.content_hash)
        for extra in found:
            if kept is not None and extra is not kept and extra.is_open:
                reason = f"duplicate of {kept.instance_id}"
                await self.pace.within(oa.withdraw(extra.instance_id, reason))
        async with database.transaction(taken.origin) as tx:
            await handlers.record_lookup(tx, submission, found, self._patience(oa))

    async def _found(self, oa: ApprovalPort, submission: Submission) -> Sequence[Instance]:
        """An OA that cannot be searched shows only what it has named itself."""
        if oa.capabilities.idempotency is not Idempotency.NONE:
            return await self.pace.within(oa.resolve(submission.business_key))
        if submission.instance_id is None:
            return []
        snapshot = await self.pace.within(oa.fetch(submission.instance_id))
        return [Instance(submission.instance_id, snapshot.content_hash, is_open=True)]

    async def _annotated(self, oa: ApprovalPort, submission: Submission) -> Submission:
        """Say in the OA who has won. A note that cannot be left there stops nothing."""
        farewell = submission.farewell
        is_due = farewell is not None and farewell.note and not submission.is_annotated
        can = oa.capabilities.comment is Ability.API and submission.instance_id is not None
        if not is_due or not can or farewell is None or submission.instance_id is None:
            return submission
        try:
            await self.pace.within(oa.comment(submission.instance_id, farewell.note or ""))
        except NotSentError:
            raise
        except OAError as refusal:
            log.warning("note not left", business_key=submission.business_key, error=str(refusal))
        return replace(submission, is_annotated=True)

    async def _refuse_strangers(self, database: Database, draining: asyncio.Event) -> None:
        while not draining.is_set():
            try:
                async with database.transaction() as tx:
                    await handlers.refuse_strangers(tx, list(self.oas))
            except AWAY as away:
                log.warning("database away", error=type(away).__name__)
            await pause(draining, self.pace.poll * 5)


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
        pace, oa = self.delivery.pace, self.delivery.oas[self.tenant]
        while not draining.is_set():
            taken = await self._take(database, pace.at_once - len(self.running))
            self.running |= {
                asyncio.create_task(self.delivery.work_on(database, oa, one, self.work))
                for one in taken
            }
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
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
            return []
