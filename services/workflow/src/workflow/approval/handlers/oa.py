"""What the OA says: decisions that count if they are the first, endings, doubts."""

from collections.abc import Sequence
from typing import Any

import structlog
from chassis import Received, Reject, Tx
from events.oa import Drift, InstanceStatus, OADecisionReceived, OADriftDetected, OAInstanceClosed
from events.workflow import ApprovalActed, Decision, Mode, Verb
from msgspec.structs import replace
from prometheus_client import Counter

from workflow.approval import store
from workflow.approval.domain import (
    Approval,
    ContentChanged,
    DecisionUnknown,
    NotAsked,
    Status,
    Task,
    TaskCancelled,
    TaskDecided,
    Verdict,
    decided,
)
from workflow.approval.handlers.changing import Change, ask_administrator, keep, moment_for

log = structlog.get_logger()
IGNORED = Counter(
    "tonglu_workflow_oa_decisions_ignored_total",
    "Decisions on mirrored tasks that do not count, by reason.",
    ("reason",),
)
_TAKEN_BACK = (InstanceStatus.REVOKED, InstanceStatus.REJECTED, InstanceStatus.RETURNED)
# Differences that say nothing against the process itself: it still decides.
_BESIDE = (Drift.GHOST, Drift.ORPHAN, Drift.LOST_PUSH, Drift.MISSED_CALLBACK)
_IN_DOUBT = (NotAsked, DecisionUnknown, ContentChanged)


async def on_oa(tx: Tx, batch: Sequence[Received[Any]]) -> None:
    """Each event in its order, once all approvals in question are locked in theirs."""
    places = {(one.event.document_id, one.event.revision) for one in batch}
    await store.lock_approvals(tx, places)
    for one in batch:
        with tx.caused_by(one.origin):
            match one.event:
                case OADecisionReceived() as decision:
                    await on_oa_decision(tx, decision)
                case OAInstanceClosed() as end:
                    await on_oa_closed(tx, end)
                case OADriftDetected() as drift:
                    await on_oa_drift(tx, drift)


async def on_oa_decision(tx: Tx, event: OADecisionReceived) -> None:
    """A person decided in the OA: it counts if it is the first valid one of its task or step."""
    place = event.document_id, event.revision
    approval = (await store.approvals_for_change(tx, [place])).get(place)
    mode = Mode.DELEGATED if event.task_id is None else Mode.MIRRORED
    if approval is None or approval.tenant != event.tenant or approval.mode is not mode:
        raise Reject(f"no approval of {event.document_id} runs so in {event.tenant}")
    if event.task_id is None:
        await _decided_by_step(tx, approval, event)
    else:
        task = approval.task(event.task_id)
        if task is None:
            raise Reject(f"{event.task_id} is no task of revision {event.revision}")
        await _decided_in_mirror(tx, approval, task, event)


async def _decided_in_mirror(
    tx: Tx, approval: Approval, task: Task, event: OADecisionReceived
) -> None:
    """The task is decided here or there: what does not count leaves it as it is here."""
    try:
        await _decide(tx, approval, task, event)
    except (TaskDecided, TaskCancelled, *_IN_DOUBT) as error:
        reason = type(error).__name__
        IGNORED.labels(reason).inc()
        log.warning("decision in the OA does not count", task_id=task.task_id, reason=reason)


async def _decided_by_step(tx: Tx, approval: Approval, event: OADecisionReceived) -> None:
    """The OA's own process decides, a step at a time; in doubt an administrator is asked."""
    step = approval.current_step
    if step is None or step > event.step or approval.runs_here:
        return  # decided, called off, or a person of ours is looking into it
    if step < event.step:
        raise Reject(f"step {event.step} was decided before step {step}")
    round_ = approval.round_of(step)
    if any(task.decided_by == event.decided_by for task in round_):
        return  # said before
    mine = [task for task in approval.open_tasks if task.assignee_id == event.decided_by]
    try:
        await _decide(tx, approval, (mine or approval.open_tasks)[0], event)
    except _IN_DOUBT as doubt:
        await ask_administrator(tx, approval, str(doubt))


async def _decide(tx: Tx, approval: Approval, task: Task, event: OADecisionReceived) -> None:
    people = {event.decided_by, *approval.may_be_asked(task)}
    moment = await moment_for(tx, [approval], people)
    if event.decided_by in moment.gone:
        raise NotAsked(f"decided by {event.decided_by}, who is not here")
    verdict = Verdict(
        decision=event.decision,
        by=event.decided_by,
        via=event.tenant,
        content_hash=event.content_hash,
        decided_at=event.decided_at,
        opinion=event.opinion,
    )
    await keep(tx, [Change(approval, decided(approval, task, verdict, moment))])


async def on_oa_closed(tx: Tx, event: OAInstanceClosed) -> None:
    """The OA has ended its process: an approval it takes back stops what follows from it.

    Where the OA alone decides and leaves us without a decision, a person must look; a mirrored
    task stays open here.
    """
    place = event.document_id, event.revision
    approval = (await store.approvals_for_change(tx, [place])).get(place)
    if approval is None or approval.tenant != event.tenant:
        return
    if event.task_id is None:
        await _process_closed(tx, approval, event)
    elif (task := approval.task(event.task_id)) is not None:
        await _mirror_closed(tx, approval, task, event)


async def _process_closed(tx: Tx, approval: Approval, event: OAInstanceClosed) -> None:
    if approval.status is Status.OPEN:
        await ask_administrator(tx, approval, f"the OA ended it: {event.status}")
    elif event.status in _TAKEN_BACK and not approval.runs_here:
        await keep(tx, [Change(approval, _revoked(tx, approval, event))])


async def _mirror_closed(tx: Tx, approval: Approval, task: Task, event: OAInstanceClosed) -> None:
    is_theirs = task.via == event.tenant and task.decision is Decision.APPROVE
    counts = task.has_signed and not approval.is_asked_anew(task)
    if not (is_theirs and counts) or event.status not in _TAKEN_BACK:
        return
    if approval.status is not Status.OPEN:
        await keep(tx, [Change(approval, _revoked(tx, approval, event))])
        return
    if (approval.current_step or task.step) < task.step:
        # It will be asked anew on the way, unless the route would go straight past it.
        if approval.back is not None:
            await keep(tx, [Change(approval, replace(approval, back=None))])
        return
    found = {one.approver_id for one in approval.planned(task.step).found}
    moment = await moment_for(tx, [approval], found)
    said = approval.saying(
        ApprovalActed(
            document_id=approval.document_id,
            revision=approval.revision,
            task_id=task.task_id,
            verb=Verb.RETURN_TO_STEP,
            via=event.tenant,
            to_step=task.step,
            text=f"OA 撤销了此前的同意，重新询问。The OA took its approval back: {event.status}",
            acted_at=tx.now,
        )
    )
    await keep(tx, [Change(approval, said.returned_to(task.step, None, moment))])


def _revoked(tx: Tx, approval: Approval, event: OAInstanceClosed) -> Approval:
    return approval.revoked(f"the OA took it back: {event.status}", tx.now)


async def on_oa_drift(tx: Tx, event: OADriftDetected) -> None:
    """The OA contradicts us: nothing is decided by it; where it alone decides, a person looks."""
    place = event.document_id, event.revision
    approval = (await store.approvals_for_change(tx, [place])).get(place)
    if approval is not None and event.task_id is None and event.drift not in _BESIDE:
        await ask_administrator(tx, approval, f"the OA differs: {event.drift}")
