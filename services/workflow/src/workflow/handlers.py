"""Plan who must approve, ask, take the first valid decision, ask on or end."""

from collections.abc import Sequence
from datetime import timedelta

from chassis import Received, Reject, Retry, Tx
from events import DocumentId, EmployeeId, TaskId
from events.claims import ClaimSubmitted, ClaimWithdrawn
from events.directory import DepartmentUpdated, EmployeeUpdated, EmploymentStatus
from events.oa import InstanceStatus, OADecisionReceived, OADriftDetected, OAInstanceClosed
from events.workflow import Decision, DocumentKind, Mode

from workflow import store
from workflow.domain import (
    Approval,
    Approver,
    ContentChanged,
    DecideInOA,
    Definition,
    Found,
    NoAdministrator,
    Rule,
    Status,
    Task,
    TaskNotOpen,
    Verdict,
    administrator,
    find_approver,
    plan,
    requested,
)

_AGREES = {
    InstanceStatus.APPROVED: Status.APPROVED,
    InstanceStatus.REJECTED: Status.REJECTED,
    InstanceStatus.RETURNED: Status.RETURNED,
}
_LATER = timedelta(seconds=2)


class DefinitionChanged(Exception):
    """A definition file was changed under a version that is in use: raise its version."""


async def import_definitions(tx: Tx, definitions: Sequence[Definition]) -> None:
    """Keep each version; the same one again is nothing.

    Raises:
        DefinitionChanged: another content under a known id and version.
    """
    for definition in definitions:
        known = await store.definition_document(tx, definition.id, definition.version)
        if known is None:
            await store.add_definition(tx, definition)
        elif known != definition.model_dump(mode="json"):
            raise DefinitionChanged(f"{definition.label}: raise its version to change it")


async def on_claim_submitted(tx: Tx, event: ClaimSubmitted) -> None:
    """Plan the whole route, and ask the first of it."""
    document = DocumentId(event.claim_id)
    if (before := await store.open_approval_for_change(tx, document)) is not None:
        await _cancel(tx, before)
    definition = await store.definition_of(tx, DocumentKind.CLAIM)
    if definition is None:
        raise Retry("no definition for claims has been imported", after=_LATER)
    roles = [str(s.approver.role) for s in definition.steps if s.approver.rule is Rule.ROLE]
    directory = await store.directory_around(tx, event.employee_id, roles)
    submitter = directory.people.get(event.employee_id)
    if submitter is None:
        raise Retry("directory has not caught up", after=_LATER)
    try:
        route = plan(definition, submitter, directory)
    except NoAdministrator as error:
        raise Retry("a step has no approver, and no one holds the role admin") from error
    approval, facts = requested(definition, event, route, tx.now)
    await store.add_approval(tx, approval, tx.now)
    for fact in facts:
        tx.emit(fact)


async def on_claim_withdrawn(tx: Tx, event: ClaimWithdrawn) -> None:
    """Call the approval off, unless it has ended."""
    approval = await store.approval_for_change(tx, DocumentId(event.claim_id), event.revision)
    if approval is not None:
        await _cancel(tx, approval)


async def on_oa_decision(tx: Tx, event: OADecisionReceived) -> None:
    """A person decided in the OA: it counts if it is the first valid one of its step."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is None or approval.mode is not Mode.DELEGATED:
        raise Reject(f"no approval of {event.document_id} runs in an OA")
    task = approval.current
    if task is None or task.step > event.step or task.native:
        return  # decided, called off, or a person of ours is looking into it
    if task.step < event.step:
        raise Reject(f"step {event.step} was decided before step {task.step}")
    if event.decision is Decision.UNKNOWN or not await store.is_active(tx, event.decided_by):
        await _ask_administrator(tx, approval, f"the OA says {event.decision} by a stranger")
        return
    verdict = Verdict(
        decision=event.decision,
        by=event.decided_by,
        via=event.tenant,
        content_hash=event.content_hash,
        decided_at=event.decided_at,
        opinion=event.opinion,
    )
    try:
        await _decide(tx, approval, task, verdict)
    except ContentChanged:
        await _ask_administrator(tx, approval, "the OA showed another content")


async def on_oa_closed(tx: Tx, event: OAInstanceClosed) -> None:
    """The OA's process has ended: fine if we know why, else a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is None or approval.status is not Status.OPEN:
        return
    if _AGREES.get(event.status) is not approval.status:
        await _ask_administrator(tx, approval, f"the OA ended it as {event.status}")


async def on_oa_drift(tx: Tx, event: OADriftDetected) -> None:
    """The OA contradicts us: nothing is decided by it, a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is not None and approval.status is Status.OPEN:
        await _ask_administrator(tx, approval, f"drift: {event.drift}")


async def on_employees(tx: Tx, batch: Sequence[Received[EmployeeUpdated]]) -> None:
    """Keep our copy; what a leaver was asked goes to someone who is here."""
    people = [received.event for received in batch]
    await store.save_people(tx, people)
    leavers = [one.employee_id for one in people if one.status is not EmploymentStatus.ACTIVE]
    for document, revision in await store.open_task_places(tx, leavers) if leavers else ():
        approval = await store.approval_for_change(tx, document, revision)
        if approval is not None and approval.current is not None:
            await _reroute(tx, approval, approval.current)


async def on_departments(tx: Tx, batch: Sequence[Received[DepartmentUpdated]]) -> None:
    await store.save_departments(tx, [received.event for received in batch])


async def decide_task(tx: Tx, id_: TaskId, verdict: Verdict) -> Task | None:
    """A decision in our own inbox; None when the task is not this person's.

    Raises:
        TaskNotOpen, ContentChanged, OpinionMissing, DecideInOA: it does not count, and why.
    """
    place = await store.place_of_task(tx, id_, verdict.by)
    if place is None:
        return None
    approval = await store.approval_for_change(tx, *place)
    task = approval.task(id_) if approval is not None else None
    if approval is None or task is None:
        return None
    if not task.native and approval.tenant is not None:
        raise DecideInOA(approval.tenant) if approval.current == task else TaskNotOpen(task)
    after = await _decide(tx, approval, task, verdict)
    return after.task(id_)


async def approval_seen_by(
    tx: Tx, id_: DocumentId, person: EmployeeId, *, sees_all: bool
) -> Approval | None:
    """The latest approval of a document, if this person may see it."""
    approval = await store.latest_approval(tx, id_)
    if approval is None:
        return None
    involved = {approval.submitter_id, *(task.assignee_id for task in approval.tasks)}
    involved |= {planned.found.approver_id for planned in approval.route}
    return approval if sees_all or person in involved else None


async def _decide(tx: Tx, approval: Approval, task: Task, verdict: Verdict) -> Approval:
    after, facts = approval.decided(task, verdict)
    await store.save_approval(tx, after)
    for fact in facts:
        tx.emit(fact)
    return after


async def _cancel(tx: Tx, approval: Approval) -> None:
    after, facts = approval.cancelled(tx.now)
    if facts:
        await store.save_approval(tx, after)
    for fact in facts:
        tx.emit(fact)


async def _ask_administrator(tx: Tx, approval: Approval, why: str) -> None:
    task = approval.current
    if task is None or task.native:
        return  # a person of ours is asked already
    directory = await store.directory_around(tx, approval.submitter_id, [])
    try:
        found = administrator(approval.submitter_id, directory, why=why)
    except NoAdministrator as error:
        raise Retry("a person must look, and no one holds the role admin") from error
    await _hand(tx, approval, task, found)


async def _reroute(tx: Tx, approval: Approval, task: Task) -> None:
    """Up the leaver's own line, never to the submitter; else to an administrator."""
    directory = await store.directory_around(tx, task.assignee_id, [])
    leaver = directory.people[task.assignee_id]
    try:
        found = find_approver(Approver(rule=Rule.LINE_MANAGER), leaver, directory)
        if found.approver_id == approval.submitter_id:
            found = administrator(approval.submitter_id, directory, why="own manager's leave")
    except NoAdministrator as error:
        raise Retry("a leaver's task has no one to go to") from error
    await _hand(tx, approval, task, found)


async def _hand(tx: Tx, approval: Approval, task: Task, found: Found) -> None:
    after, facts = approval.handed_to(task.step, task.name, found, tx.now)
    await store.save_approval(tx, after)
    for fact in facts:
        tx.emit(fact)
