"""What approval events, callbacks and the answers of an OA do to a submission."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from chassis import Origin, Tx
from events import DocumentId, InstanceId, TenantId
from events.oa import OAContractChanged, OADriftDetected, OADriftRepaired
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Mode,
)

from oa_connector import domain, store
from oa_connector.domain import (
    Capabilities,
    Difference,
    Farewell,
    Instance,
    Move,
    Patience,
    ProbeReport,
    Repair,
    Snapshot,
    State,
    Status,
    Submission,
    SubmitResult,
)
from oa_connector.vendors import CallbackRefusedError, Hint

log = structlog.get_logger()
_IS_ASKED_FOR = timedelta(hours=1)  # for so long an OA that is silent is asked to end something


async def on_approval_requested(tx: Tx, event: ApprovalRequested) -> None:
    """Remember what must go to the OA; sending it is the delivery's work."""
    match event.mode:
        case Mode.DELEGATED:
            await _add(tx, domain.requested(event, tx.now))
        case Mode.MIRRORED:
            await store.add_request(tx, domain.request_of(event))
        case _:
            pass  # it runs in Tonglu alone


async def on_task_assigned(tx: Tx, event: ApprovalTaskAssigned) -> None:
    """Show the task in the OA, where its approval is mirrored."""
    request = await store.request(tx, event.document_id, event.revision)
    if request is not None:
        await _add(tx, domain.mirrored(request, event))


async def on_task_decided(tx: Tx, event: ApprovalTaskDecided) -> None:
    """The first decision counts. Where it was not made in the OA, its people there are told."""
    mirror = await store.submission(tx, event.task_id)
    if mirror is None or event.via == mirror.tenant:
        return
    who = f"{event.decided_by} {event.decided_at:%Y-%m-%d %H:%M:%S %Z}: {event.decision}"
    note = f"《{mirror.form.title}》已在同路处理 Decided in Tonglu by {who} ({event.task_id})"
    await _take_back(tx, [mirror], Farewell("decided in Tonglu", note, event.decision))


async def on_task_closed(tx: Tx, event: ApprovalTaskClosed) -> None:
    """Nobody needs to decide it any more, in the OA neither."""
    mirror = await store.submission(tx, event.task_id)
    if mirror is not None:
        note = f"无需再处理 No more to do: {event.closing}"
        await _take_back(tx, [mirror], Farewell(f"closed in Tonglu: {event.closing}", note))


async def on_approval_cancelled(tx: Tx, event: ApprovalCancelled) -> None:
    """The document was withdrawn: take it back from the OA."""
    await _end(tx, event, Farewell("withdrawn in Tonglu 已在同路撤回"))


async def on_approval_decided(tx: Tx, event: ApprovalDecided) -> None:
    """The approval has ended: a process that is still open in the OA must not go on."""
    await _end(tx, event, Farewell(f"decided in Tonglu 已在同路审结: {event.outcome}"))


async def _end(tx: Tx, event: ApprovalCancelled | ApprovalDecided, farewell: Farewell) -> None:
    await store.drop_request(tx, event.document_id, event.revision)
    left = await store.submissions_of(tx, event.document_id, event.revision)
    await _take_back(tx, left, farewell)


async def _take_back(tx: Tx, submissions: Iterable[Submission], farewell: Farewell) -> None:
    for submission in submissions:
        if move := domain.withdrawn(submission, farewell):
            await _make(tx, move)


async def _add(tx: Tx, move: Move) -> None:
    await store.add_submission(tx, move.submission)
    for fact in move.facts:
        tx.emit(fact)


async def retry_submission(tx: Tx, business_key: str) -> Submission | None:
    """A person has looked: search the OA again, then create; None when there is no such row.

    Raises:
        SubmissionNotStuckError: it does not wait for a person.
    """
    submission = await store.submission(tx, business_key)
    if submission is None:
        return None
    move = domain.retried(submission)
    await _make(tx, move)
    return move.submission


async def take_callback(tx: Tx, tenant: TenantId, hint: Hint, body: bytes) -> bool:
    """Keep the callback and mark its submission due; False when the process is not ours.

    One that the OA sends and signs again, since it has not heard our answer, has no second effect.

    Raises:
        CallbackRefusedError: its signature came before; nothing is kept.
    """
    delivery = (hint.delivery_id, hint.signature)
    if await store.add_callback(tx, tenant, delivery, hint.instance_id, body):
        return await store.hint(tx, tenant, hint.instance_id)
    if not await store.is_signed_anew(tx, tenant, delivery, body):
        raise CallbackRefusedError("replay")
    return True


async def refuse_strangers(tx: Tx, known: Sequence[TenantId]) -> None:
    """What is to go to an OA that we do not have waits for a person, or until we have it again."""
    for taken in await store.take_strangers(tx, known):
        with tx.caused_by(taken.origin):
            await _make(tx, domain.stranded(replace(taken.submission, lease_until=None), tx.now))
    for taken in await store.take_stranded(tx, known):
        with tx.caused_by(taken.origin):
            await _make(tx, domain.resumed(taken.submission))


async def record_refusal(
    tx: Tx, held: Submission, result: SubmitResult, patience: Patience
) -> None:
    """The create was not accepted."""
    await _record(tx, held, lambda row: domain.not_created(row, result, patience, tx.now))


async def record_lookup(
    tx: Tx,
    held: Submission,
    instances: Sequence[Instance],
    patience: Patience,
    left: Sequence[tuple[InstanceId, Snapshot]] = (),
) -> None:
    """The OA was searched by business key; `left`: what it was asked to end and still runs."""
    ids = [ghost for ghost, _ in left]
    await _record(tx, held, lambda row: domain.looked_up(row, instances, patience, tx.now, ids))
    if (kept := domain.keeper(held, instances)) is not None:
        for ghost, snapshot in left:
            ours = replace(held, instance_id=kept.instance_id)
            await record_ghost(tx, ours, ghost, snapshot)


async def record_snapshot(tx: Tx, held: Submission, snapshot: Snapshot, patience: Patience) -> None:
    """The OA reported a whole process."""
    is_asked = held.state is State.WITHDRAWING
    await _record(
        tx,
        held,
        lambda row: domain.followed(row, snapshot, patience, tx.now, is_asked=is_asked),
    )


async def record_silence(
    tx: Tx, held: Submission, error: str, patience: Patience, *, is_long: bool = False
) -> None:
    """The OA did not answer a question; `is_long`: not for long, while it answered others."""
    # It may answer nothing else either, as behind a page of a proxy.
    is_hopeless = is_long and not await store.is_silent(tx, held.tenant)
    await _record(
        tx,
        held,
        lambda row: domain.unreachable(row, error, patience, tx.now, is_hopeless=is_hopeless),
    )


async def record_note(tx: Tx, held: Submission) -> None:
    """Its note was left in the OA, or not yet: kept at once, so that it is not left twice."""
    await store.save_note(tx, replace(held, tries=0) if held.is_annotated else held)


async def record_fault(tx: Tx, held: Submission, fault: str, patience: Patience) -> None:
    """What was done about it could not be recorded, time and again."""
    await _record(tx, held, lambda row: domain.broken(row, fault, patience, tx.now))


async def record_probe(
    tx: Tx, tenant: TenantId, report: ProbeReport, capabilities: Capabilities
) -> None:
    """Keep what the OA turned out to be; what has changed is said, and a changed form pauses."""
    before = await store.tenant_for_change(tx, tenant)
    await store.save_report(tx, tenant, report, capabilities)
    was = before or (report.version, False)
    if (report.version, report.is_degraded) != was:
        detail = report.detail or f"version {was[0]} is now {report.version}"
        _contract_changed(tx, tenant, detail, version=report.version, degraded=report.is_degraded)
    known = await store.fingerprints(tx, tenant)
    for name, fingerprint in report.forms.items():
        await store.save_fingerprint(tx, tenant, name, fingerprint)
        if known.get(name) not in {None, fingerprint}:
            await _pause(tx, tenant, name, "the form has changed")


async def resume_template(tx: Tx, tenant: TenantId, name: str) -> bool:
    """A person has looked at the form: send by it again; False when it was not paused."""
    return await store.resume_template(tx, tenant, name)


async def _pause(tx: Tx, tenant: TenantId, name: str, why: str) -> None:
    if await store.pause_template(tx, tenant, name, why):
        _contract_changed(tx, tenant, why, template=name, paused=True)


def _contract_changed(tx: Tx, tenant: TenantId, detail: str, **what: Any) -> None:
    event = OAContractChanged(tenant=tenant, detail=detail[:200], changed_at=tx.now, **what)
    tx.emit(event, origin=Origin(None, None, tx.origin.traceparent))


async def reconcile(
    tx: Tx, tenant: TenantId, listed: Sequence[Instance]
) -> list[tuple[Submission, InstanceId]]:
    """Compare a page of the OA's list with what we know; the ghosts, for the caller to end.

    A ghost is a second process for a submission that has its own.
    """
    keys = {one.business_key for one in listed if one.business_key}
    known = await store.known(tx, tenant, sorted(keys))
    origins = await store.origins(tx, list(known))
    ghosts = []
    for one in listed:
        submission = known.get(one.business_key or "")
        if submission is None:
            continue
        if domain.is_ghost(submission, one):
            ghosts.append((submission, one.instance_id))
        elif (move := domain.compared(submission, one)) is not None:
            with tx.caused_by(origins[submission.business_key]):
                await _make(tx, move)
            known[submission.business_key] = move.submission
    strange = await store.unknown_keys(tx, sorted(keys - known.keys()))
    for one in listed:
        if one.business_key in strange and (found := domain.orphan(tenant, one)) is not None:
            await _beside(tx, found, asdict(one))
    return ghosts


async def _beside(tx: Tx, found: Difference, theirs: Mapping[str, Any]) -> None:
    """A process that belongs to no submission of ours waits for a person."""
    if await store.add_case(tx, found, {}, theirs):
        fact = domain.told(found, tx.now)
        tx.emit(fact, origin=Origin(found.document_id, None, tx.origin.traceparent))


async def record_ghost(
    tx: Tx, submission: Submission, ghost: InstanceId, snapshot: Snapshot
) -> bool:
    """Whether the OA has ended the second process; where it has not, a person is told."""
    say = domain.ghost_left if snapshot.may_run else domain.ghost_ended
    key = submission.business_key
    origins = await store.origins(tx, [key])
    with tx.caused_by(origins[key]):
        await _say(tx, Move(submission, (say(submission, ghost, tx.now),), seen=snapshot))
    return not snapshot.may_run


async def record_end(tx: Tx, case: store.Case, snapshot: Snapshot | None) -> None:
    """The OA was asked to end a process that is not ours; `snapshot` None: it did not answer.

    What a person wants ended and the OA has not is a new case; after silence it is asked again.
    """
    about, seen = case.difference, snapshot or Snapshot(Status.UNKNOWN)
    if case.resolved_at is None:  # a ghost; its case is there already
        ours = await store.submission(tx, about.business_key)
        if not seen.may_run and ours is not None and about.instance_id is not None:
            await record_ghost(tx, ours, about.instance_id, seen)
    elif snapshot is not None or tx.now - case.resolved_at > _IS_ASKED_FOR:
        await store.case_done(tx, case.id)
        if seen.may_run:
            left = replace(about, detail=f"the OA has not ended {about.instance_id}")
            await _beside(tx, left, asdict(seen))


async def resolve_drift(tx: Tx, id_: UUID, repair: Repair, note: str, by: str) -> store.Case | None:
    """A person decides about a difference; None when there is no such one that waits.

    Raises:
        RepairNotPossibleError: it would mend nothing.
    """
    case = await store.case_for_change(tx, id_)
    if case is None or case.resolved_at is not None:
        return None
    drift = case.difference.drift
    submission = await store.submission(tx, case.difference.business_key)
    domain.demand_possible(drift, submission, repair)
    await store.resolve_case(tx, id_, repair, note, by)
    if submission is not None:
        move = domain.mended(submission, drift, repair, tx.now, by)
        await (_say(tx, move) if move.due_in is None else _make(tx, move))
    return await store.case_for_change(tx, id_)


async def _record(tx: Tx, held: Submission, decide: Callable[[Submission], Move]) -> None:
    """Decide on the row as it is now: an event or a callback may have come during the call."""
    row = await store.leased(tx, held)
    if row is None:
        log.warning("lease lost", business_key=held.business_key)
        return
    known = replace(
        row,
        instance_id=held.instance_id or row.instance_id,
        is_annotated=held.is_annotated or row.is_annotated,
        tries=0 if held.is_annotated and not row.is_annotated else row.tries,
        lease_until=None,
    )
    move = decide(known)
    if (row.hints, row.state, row.missed) != (held.hints, held.state, held.missed):
        move = replace(move, due_in=timedelta(0))
    await _make(tx, move)


async def _make(tx: Tx, move: Move) -> None:
    due_at = None
    if move.due_in is not None:
        # Spread, so that what failed together does not come back together.
        due_at = tx.now + move.due_in * random.uniform(1, 1.1)  # noqa: S311 -- not a secret
    submission = move.submission
    await store.save(tx, submission, due_at)
    if move.is_form_broken:
        await _pause(tx, submission.tenant, submission.template, "the OA lost what we sent")
    await _say(tx, move)


async def _say(tx: Tx, move: Move) -> None:
    """Emit its facts; a difference that waits for a person already is not told again.

    One that is gone waits for nobody any more.
    """
    submission = move.submission
    for fact in move.facts:
        if isinstance(fact, OADriftDetected):
            case = _case(fact, submission)
            if not await store.add_case(tx, case, _ours(submission), _theirs(move)):
                continue
        if isinstance(fact, OADriftRepaired) and fact.repaired_by == domain.RECONCILIATION:
            gone = (submission.business_key, fact.drift, fact.instance_id)
            await store.case_gone(tx, gone, fact.repair, fact.repaired_by)
        tx.emit(fact)


def _case(fact: OADriftDetected, submission: Submission) -> Difference:
    return Difference(
        tenant=fact.tenant,
        business_key=submission.business_key,
        document_id=DocumentId(fact.document_id),
        revision=fact.revision,
        task_id=fact.task_id,
        instance_id=fact.instance_id,
        drift=fact.drift,
        detail=fact.detail,
    )


def _ours(submission: Submission) -> dict[str, Any]:
    """What we hold, without what people wrote."""
    return {
        "state": submission.state,
        "status": submission.status,
        "content_hash": submission.content_hash,
        "amount": submission.form.amount,
        "approvers": submission.form.approvers,
        "steps_seen": submission.steps_seen,
    }


def _theirs(move: Move) -> dict[str, Any]:
    return {} if move.seen is None else asdict(move.seen)
