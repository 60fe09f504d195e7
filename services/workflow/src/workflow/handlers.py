"""Plan who must approve, ask, take the first valid decision, ask on or end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from chassis import Received, Reject, Retry, Tx
from events import DocumentId, Event, TaskId
from events.claims import ClaimSubmitted, ClaimWithdrawn
from events.directory import DepartmentUpdated, EmployeeUpdated, EmploymentStatus
from events.oa import OADecisionReceived, OADriftDetected, OAInstanceClosed
from events.workflow import Decision, DocumentKind, Mode

from workflow import store
from workflow.domain.approval import (
    Approval,
    DecisionDoubtful,
    DecisionTooEarly,
    Moved,
    Task,
    Verdict,
)
from workflow.domain.definition import ADMIN, Definition
from workflow.domain.directory import (
    Directory,
    Found,
    NoAdministrator,
    administrator,
    present,
)
from workflow.domain.planning import plan, requested
from workflow.store import Viewer

log = structlog.get_logger()
_LATER = timedelta(seconds=2)


class DefinitionChanged(Exception):
    """A definition file was changed under a version that is in use."""


async def import_definitions(tx: Tx, definitions: Iterable[Definition]) -> None:
    """Keep each version; the same one again is nothing.

    Raises:
        DefinitionChanged: another content under a known id and version.
    """
    for definition in definitions:
        await store.add_definition(tx, definition)
        known = await store.definition_document(tx, definition.id, definition.version)
        if known != definition.model_dump(mode="json"):
            raise DefinitionChanged(
                f"{definition.label} was imported with another content: raise its version"
            )


async def on_claims(tx: Tx, batch: Sequence[Received[Event]]) -> None:
    """Plan the whole route of what was handed in, and ask the first; call off what was withdrawn.

    A hand-in closes the approval of the revision before it, should that still be open.
    """
    documents = [DocumentId(received.event.key) for received in batch]
    begun = {one.document_id: one for one in await store.open_approvals_for_change(tx, documents)}
    definition, directory = await _material(tx, [received.event for received in batch])
    new: dict[tuple[DocumentId, int], Approval] = {}
    for received in batch:
        event, document = received.event, DocumentId(received.event.key)
        with tx.caused_by(received.origin):
            before = begun.get(document)
            if before is not None and _ends(event, before):
                after = _say(tx, begun.pop(document).cancelled(tx.now))
                if (document, after.revision) in new:
                    new[document, after.revision] = after
                else:
                    await store.save_approval(tx, after)
            if isinstance(event, ClaimSubmitted):
                approval = _say(tx, _begin(event, definition, directory, tx.now))
                begun[document] = new[document, event.revision] = approval
    if new:
        await store.add_approvals(tx, list(new.values()))


async def on_oa_decision(tx: Tx, event: OADecisionReceived) -> None:
    """A person decided in the OA: it counts if it is the first valid one of its step."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is None or approval.tenant != event.tenant:
        raise Reject(f"no approval of revision {event.revision} was given to {event.tenant}")
    verdict = Verdict(
        decision=event.decision,
        by=event.decided_by,
        via=event.tenant,
        content_hash=event.content_hash,
        decided_at=event.decided_at,
        opinion=event.opinion,
    )
    is_employee = await store.is_employee(tx, event.decided_by)
    try:
        task = approval.check_from_oa(event.step, verdict, is_employee=is_employee)
    except DecisionTooEarly as error:
        raise Reject(str(error)) from error
    except DecisionDoubtful as error:
        await _take_over(tx, approval, str(error))
        return
    if task is not None:
        await _save(tx, approval.decided(task, verdict, tx.now))


async def on_oa_closed(tx: Tx, event: OAInstanceClosed) -> None:
    """The OA's process has ended: nothing if we know why, else a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is not None:
        await _take_over(tx, approval, f"the OA ended it: {event.status.value}")


async def on_oa_drift(tx: Tx, event: OADriftDetected) -> None:
    """The OA contradicts us: nothing is decided by it, a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is not None:
        await _take_over(tx, approval, f"the OA differs: {event.drift.value}")


async def on_employees(tx: Tx, batch: Sequence[Received[EmployeeUpdated]]) -> None:
    """Keep our copy; what a leaver was asked in Tonglu goes to someone who is here.

    With no administrator to take it, it waits where it is until there is one. To wait here instead
    would hold back the very event that names one.
    """
    await store.save_people(tx, [received.event for received in batch])
    causes = [received for received in batch if _moves_tasks(received.event)]
    if not causes:
        return
    left = {received.event.employee_id: received for received in causes}
    for document, revision, assignee in await store.stranded_tasks(tx):
        origin = replace(left.get(assignee, causes[-1]).origin, correlation_id=document)
        with tx.caused_by(origin):
            await _reroute(tx, document, revision)


async def on_departments(tx: Tx, batch: Sequence[Received[DepartmentUpdated]]) -> None:
    """Keep our copy."""
    await store.save_departments(tx, [received.event for received in batch])


async def decide_task(tx: Tx, id_: TaskId, verdict: Verdict, viewer: Viewer) -> Task | None:
    """A decision in our own inbox; None when the task is not this person's.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA, OwnDocument, ContentChanged, OpinionMissing: it does
            not count, and why.
        NoAdministrator: the next approver has left, and no one can take that step.
    """
    place = await store.place_of_task(tx, id_, viewer)
    approval = await store.approval_for_change(tx, *place) if place is not None else None
    task = approval.task(id_) if approval is not None else None
    if approval is None or task is None:
        return None
    approval.check_native(task, verdict)
    ask = await _next_asked(tx, approval, task, verdict)
    return (await _save(tx, approval.decided(task, verdict, tx.now, ask))).task(id_)


async def seen_task(tx: Tx, id_: TaskId, viewer: Viewer) -> tuple[Approval, Task] | None:
    """A task with its approval; None when it is not and was not this person's."""
    place = await store.place_of_task(tx, id_, viewer)
    approval = await store.approval(tx, *place) if place is not None else None
    task = approval.task(id_) if approval is not None else None
    return (approval, task) if approval is not None and task is not None else None


def _ends(event: Event, before: Approval) -> bool:
    """Whether this event ends the approval that is open."""
    withdrawn = isinstance(event, ClaimWithdrawn) and event.revision == before.revision
    return withdrawn or isinstance(event, ClaimSubmitted)


async def _material(tx: Tx, events: Sequence[Event]) -> tuple[Definition, Directory]:
    """What routes are planned from, read once for a whole batch."""
    definition = await store.definition_in_force(tx, DocumentKind.CLAIM)
    if definition is None:
        raise Retry("no definition for claims has been imported yet", after=_LATER)
    submitters = {event.employee_id for event in events if isinstance(event, ClaimSubmitted)}
    return definition, await store.directory_around(tx, sorted(submitters), definition.roles)


def _begin(
    claim: ClaimSubmitted, definition: Definition, directory: Directory, now: datetime
) -> Moved:
    submitter = directory.people.get(claim.employee_id)
    if submitter is None:
        raise Retry(f"the directory has not caught up: {claim.employee_id}", after=_LATER)
    try:
        route = plan(definition, submitter, directory)
    except NoAdministrator as error:
        raise Retry(str(error), after=_LATER) from error
    return requested(definition, claim, route, now)


async def _take_over(tx: Tx, approval: Approval, why: str) -> None:
    """An administrator decides instead of the OA, and Tonglu goes on from there."""
    if approval.waiting is None or approval.mode is not Mode.DELEGATED:
        return  # it has ended, or people of ours decide already
    directory = await store.directory_around(tx, [])
    try:
        found = administrator(approval.submitter_id, directory, why=why)
    except NoAdministrator as error:
        raise Retry(str(error), after=_LATER) from error
    await _save(tx, approval.taken_over(found, tx.now))


async def _reroute(tx: Tx, document: DocumentId, revision: int) -> None:
    """Ask someone who is here instead of the one who is waited for."""
    approval = await store.approval_for_change(tx, document, revision)
    if approval is None or (task := approval.waiting) is None:
        return
    try:
        found = await _here(tx, approval, task.found)
    except NoAdministrator as error:
        log.error("a leaver's task has no one to go to", task_id=task.task_id, way_out=str(error))  # noqa: TRY400
        return
    if found != task.found:
        await _save(tx, approval.handed_to(found, tx.now))


async def _next_asked(tx: Tx, approval: Approval, task: Task, verdict: Verdict) -> Found | None:
    """Whom the next step asks, as the planned approver may have left since."""
    following = approval.after(task.step)
    if following is None or verdict.decision is not Decision.APPROVE:
        return None
    return await _here(tx, approval, following.found)


async def _here(tx: Tx, approval: Approval, found: Found) -> Found:
    directory = await store.directory_around(tx, [found.approver_id])
    return present(found, approval.submitter_id, directory)


async def _save(tx: Tx, moved: Moved) -> Approval:
    after = _say(tx, moved)
    await store.save_approval(tx, after)
    return after


def _say(tx: Tx, moved: Moved) -> Approval:
    approval, facts = moved
    for fact in facts:
        tx.emit(fact)
    return approval


def _moves_tasks(event: EmployeeUpdated) -> bool:
    """Whether open tasks may change hands: someone left, or there is an administrator."""
    return event.status is EmploymentStatus.LEFT or ADMIN in event.roles
