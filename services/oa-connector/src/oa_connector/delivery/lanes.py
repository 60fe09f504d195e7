"""All loops over all OAs: sending, following, probing, reconciling."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import structlog
from chassis import Database
from chassis.db import AWAY
from chassis.failpoints import failpoint
from events import InstanceId, TenantId

from oa_connector import domain, handlers, store
from oa_connector.delivery.pace import Pace, pause
from oa_connector.delivery.probing import Probe
from oa_connector.delivery.reconciliation import Reconciliation
from oa_connector.domain import (
    Ability,
    Idempotency,
    Instance,
    Patience,
    Snapshot,
    State,
    Status,
    Submission,
    SubmitOutcome,
)
from oa_connector.store import Taken
from oa_connector.vendors import (
    ApprovalPort,
    ContractError,
    NotSentError,
    NotTakenError,
    OAError,
    RefusedError,
    is_away,
)

log = structlog.get_logger()

_FAULTS = 3  # in a row, before a person must look

Work = Callable[[Database, ApprovalPort, Taken], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """All loops over all OAs. One OA that is slow or down delays nobody but itself.

    `faults` counts by business key what broke here, in a row; `unreadable`, what the OA answered
    that cannot be used; `unanswered`, these and what it did not answer while it could be asked.
    """

    oas: Mapping[TenantId, ApprovalPort]
    patience: Patience = field(default_factory=Patience)
    pace: Pace = field(default_factory=Pace)
    probes: dict[TenantId, Probe] = field(default_factory=dict)
    reconciliations: dict[TenantId, Reconciliation] = field(default_factory=dict)
    doors: dict[TenantId, AbstractAsyncContextManager[object]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)

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
        """The one of this OA: two at once would do everything twice."""
        doubt, door = partial(self._doubt, tenant), self.door(tenant)
        made = Reconciliation(tenant, self.oas[tenant], self.pace, self.work_on, doubt, door)
        return self.reconciliations.setdefault(tenant, made)

    def door(self, tenant: TenantId) -> AbstractAsyncContextManager[object]:
        """The one of this OA, for all kinds of work."""
        calls_per_minute = self.oas[tenant].capabilities.calls_per_minute
        return self.doors.setdefault(tenant, self.pace.door(calls_per_minute))

    async def follow(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Read the process; tell its people and end it first where that is wanted."""
        submission = taken.submission
        if submission.instance_id is None:
            raise ValueError(f"{submission.business_key} is {submission.state} without a process")
        instance_id = submission.instance_id
        submission = await self._annotated(database, oa, submission)
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
        """Work on one row. What breaks here is taken up again when its lease has run out."""
        submission = taken.submission
        about = log.bind(business_key=submission.business_key, tenant=submission.tenant)
        try:
            try:
                await (work or self.follow)(database, oa, taken)
                self.faults.pop(submission.business_key, None)
                self._begin_anew(submission.business_key)
            except OAError as silence:
                about.warning("oa silent", error=str(silence))
                is_long, patience = self._is_long(submission, silence), self._patience(oa)
                async with database.transaction(taken.origin) as tx:
                    await handlers.record_silence(
                        tx, submission, silence.told, patience, is_long=is_long
                    )
                if is_long:
                    self._begin_anew(submission.business_key)
        except AWAY as away:
            about.warning("database away", error=type(away).__name__)
        except Exception as fault:  # noqa: BLE001 -- one broken row must not stop the others
            about.exception("delivery failed", state=submission.state)
            await self._give_up(database, taken, fault)

    def _is_long(self, submission: Submission, silence: OAError) -> bool:
        """Whether the OA has said nothing of use about this one for too long.

        It is asked what it is besides: perhaps it answers nothing at all.
        """
        key = submission.business_key
        if is_away(silence):
            self._begin_anew(key)
            return False
        self._probe(submission.tenant)
        self.unanswered[key] += 1
        if isinstance(silence, ContractError | RefusedError):
            self.unreadable[key] += 1
        else:
            self.unreadable.pop(key, None)
        is_odd = self.unreadable[key] >= self.patience.unreadable
        return is_odd or self.unanswered[key] >= self.patience.unanswered

    def _begin_anew(self, key: str) -> None:
        self.unreadable.pop(key, None)
        self.unanswered.pop(key, None)

    async def _give_up(self, database: Database, taken: Taken, fault: Exception) -> None:
        """What breaks each time is left to a person, who would not hear of it otherwise."""
        key, name = taken.submission.business_key, type(fault).__name__
        self.faults[key] += 1
        if self.faults[key] < _FAULTS:
            return
        try:
            async with database.transaction(taken.origin) as tx:
                await handlers.record_fault(tx, taken.submission, name, self.patience)
            del self.faults[key]
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
        except Exception:  # it breaks here too: nothing is left but the log
            log.exception("not given up", business_key=key)

    def _doubt(self, tenant: TenantId, silence: OAError) -> None:
        """An answer of an unknown shape: perhaps the OA is not what it was."""
        if isinstance(silence, ContractError):
            self._probe(tenant)

    def _probe(self, tenant: TenantId) -> None:
        if tenant in self.probes:
            self.probes[tenant].soon()

    def _patience(self, oa: ApprovalPort) -> Patience:
        """Where only a person can end a process, the first withdrawal in vain is one too many."""
        can = oa.capabilities
        refusals = self.patience.refusals if can.withdraw is Ability.API else 1
        return replace(self.patience, idempotency=can.idempotency, refusals=refusals)

    async def _send(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Create the process, or look for the one that an earlier create may have begun."""
        if taken.submission.state is State.RESOLVING:
            await self._look_up(database, oa, taken)
            return
        result = await self.pace.within(oa.submit(taken.submission.command))
        await failpoint("oa.after_create")
        if result.outcome is SubmitOutcome.ACCEPTED:
            named = replace(taken.submission, instance_id=result.instance_id)
            # At once: where it cannot be searched for, nothing else would lead back to it.
            async with database.transaction() as tx:
                await store.save_name(tx, named)
            await self._look_up(database, oa, replace(taken, submission=named))
            return
        if result.outcome is SubmitOutcome.REJECTED:
            self._probe(taken.submission.tenant)  # its form may have changed
        async with database.transaction(taken.origin) as tx:
            await handlers.record_refusal(tx, taken.submission, result, self._patience(oa))

    async def _look_up(self, database: Database, oa: ApprovalPort, taken: Taken) -> None:
        """Search by business key: reads back what was created, and ends what is there too much."""
        submission = taken.submission
        instances = await self._found(oa, submission)
        kept = domain.keeper(submission, instances)
        reason = f"duplicate of {kept.instance_id}" if kept is not None else "begun anew"
        left = []
        for extra in domain.unwanted(submission, instances):
            snapshot = await self._end(oa, submission, extra, reason)
            if snapshot.may_run:
                left.append((extra, snapshot))
        async with database.transaction(taken.origin) as tx:
            await handlers.record_lookup(tx, submission, instances, self._patience(oa), left)

    async def _end(
        self, oa: ApprovalPort, submission: Submission, extra: InstanceId, reason: str
    ) -> Snapshot:
        """One process too much: where it can never be read, the one that is kept goes on."""
        try:
            return await self.pace.within(oa.withdraw(extra, reason))
        except NotSentError:
            raise
        except OAError:
            if submission.failures < self.patience.refusals:
                raise
            return Snapshot(Status.UNKNOWN)

    async def _found(self, oa: ApprovalPort, submission: Submission) -> Sequence[Instance]:
        """An OA that cannot be searched shows only what it has named itself."""
        if oa.capabilities.idempotency is not Idempotency.NONE:
            return await self.pace.within(oa.resolve(submission.business_key))
        if submission.instance_id is None:
            return []
        snapshot = await self.pace.within(oa.fetch(submission.instance_id))
        return [Instance(submission.instance_id, snapshot.content_hash, is_open=True)]

    async def _annotated(
        self, database: Database, oa: ApprovalPort, submission: Submission
    ) -> Submission:
        """Say in the OA who has won, before the process is ended there.

        What the OA may take later is tried again, some times; then it is ended without the note,
        which is given up when the OA has answered to that. One that may stand there is not left
        again.

        Raises:
            OAError: the note was not left, and is to be tried again.
        """
        instance_id, note = submission.instance_id, domain.note_due(submission)
        if instance_id is None or note is None or oa.capabilities.comment is not Ability.API:
            return submission
        about = log.bind(business_key=submission.business_key)
        told, silence = replace(submission, is_annotated=True), None
        try:
            await self.pace.within(oa.comment(instance_id, note))
        except NotSentError:
            raise
        except (NotTakenError, RefusedError) as error:
            silence, is_refused = error, isinstance(error, RefusedError)
            told = domain.note_not_left(submission, self.patience, is_refused=is_refused)
            about.warning("note not left", error=str(error), is_given_up=told.is_annotated)
            if told.is_annotated:
                return told
        except OAError as error:
            about.warning("note perhaps left", error=str(error))
        async with database.transaction() as tx:
            await handlers.record_note(tx, told)
        if silence is not None:
            raise silence
        return told

    async def _refuse_strangers(self, database: Database, draining: asyncio.Event) -> None:
        while not draining.is_set():
            try:
                async with database.transaction() as tx:
                    await handlers.refuse_strangers(tx, list(self.oas))
            except AWAY as away:
                log.warning("database away", error=type(away).__name__)
            except Exception:  # a row that breaks here must not end the work of every OA
                log.exception("strangers not refused")
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
        pace, oa, door = self.delivery.pace, self.delivery.oas[self.tenant], self.delivery.door
        at_once = pace.rows_at_once(oa.capabilities.calls_per_minute)
        while not draining.is_set():
            async with door(self.tenant):
                free = 0 if draining.is_set() else at_once - len(self.running)
                taken = await self._take(database, free)
                self.running |= {
                    asyncio.create_task(self.delivery.work_on(database, oa, one, self.work))
                    for one in taken
                }
                # With free places only the clock brings work; else a place must free.
                is_full = len(self.running) >= at_once
                await asyncio.wait(
                    {stop, *self.running},
                    timeout=None if is_full else pace.poll,
                    return_when=asyncio.FIRST_COMPLETED,
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
        except Exception:  # a row that breaks here must not end the work of every OA
            log.exception("nothing taken", tenant=self.tenant)
        return []
