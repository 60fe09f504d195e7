"""Plan who must approve, ask, take the first valid decision, ask on or end."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from chassis import Origin, Received, Reject, Retry, Tx
from events import DocumentId, EmployeeId, Event, TaskId
from events.claims import ClaimSubmitted, ClaimWithdrawn
from events.directory import DepartmentUpdated, EmployeeUpdated
from events.oa import OADecisionReceived, OADriftDetected, OAInstanceClosed
from events.workflow import DocumentKind

from workflow import store
from workflow.domain import (
    Approval,
    ContentChanged,
    DecisionUnknown,
    Definition,
    DefinitionChanged,
    Found,
    NoAdministrator,
    NotAsked,
    Task,
    Verdict,
    administrator,
    find_successor,
    plan,
    requested,
)

log = structlog.get_logger()
_LATER = timedelta(seconds=2)


async def import_definitions(tx: Tx, definitions: Sequence[Definition]) -> None:
    """Keep each version; the same one again is nothing. The highest version is in force.

    Raises:
        DefinitionChanged: another content under a known id and version, or a second id of a kind.
    """
    await store.lock_definitions(tx)
    for definition in definitions:
        in_force = await store.definition_of(tx, definition.kind)
        if in_force is not None and in_force.id != definition.id:
            raise DefinitionChanged(
                f"{definition.label}: every {definition.kind} is approved by {in_force.id};"
                " keep that id and raise its version"
            )
        known = await store.definition(tx, definition.id, definition.version)
        if known is None:
            await store.add_definition(tx, definition)
        elif known != definition:
            raise DefinitionChanged(f"{definition.label}: raise its version to change it")


async def on_claim_submitted(tx: Tx, event: ClaimSubmitted) -> None:
    """Plan the whole route, and ask the first of it."""
    before = await store.open_approval_for_change(tx, DocumentId(event.claim_id))
    if before is not None:
        await _save(tx, *before.cancelled(tx.now))
    definition = await store.definition_of(tx, DocumentKind.CLAIM)
    if definition is None:
        raise Retry("no definition for claims has been imported", after=_LATER)
    directory = await store.directory_around(tx, event.employee_id, definition.roles)
    submitter = directory.people.get(event.employee_id)
    if submitter is None:
        raise Retry("directory has not caught up", after=_LATER)
    try:
        route = plan(definition, submitter, directory)
    except NoAdministrator as error:
        raise Retry("a step has no approver, and no one holds the role admin") from error
    approval, facts = requested(definition, event, route, tx.now)
    await store.add_approval(tx, approval, tx.now)
    _emit(tx, facts)


async def on_claim_withdrawn(tx: Tx, event: ClaimWithdrawn) -> None:
    """Call the approval off, unless it has ended."""
    approval = await store.approval_for_change(tx, DocumentId(event.claim_id), event.revision)
    if approval is not None:
        await _save(tx, *approval.cancelled(tx.now))


async def on_oa_decision(tx: Tx, event: OADecisionReceived) -> None:
    """A person decided in the OA: it counts if it is the first valid one of its step."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is None or approval.tenant != event.tenant:
        raise Reject(f"no approval of {event.document_id} runs in {event.tenant}")
    task = approval.current
    if task is None or task.step > event.step or task.native:
        return  # decided, called off, or a person of ours is looking into it
    if task.step < event.step:
        raise Reject(f"step {event.step} was decided before step {task.step}")
    if not await store.is_here(tx, event.decided_by):
        await _ask_administrator(tx, approval, f"decided by {event.decided_by}, who is not here")
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
        after, facts = approval.decided(task, verdict, tx.now)
    except (NotAsked, DecisionUnknown, ContentChanged) as doubt:
        await _ask_administrator(tx, approval, str(doubt))
    else:
        await _save(tx, after, facts)


async def on_oa_closed(tx: Tx, event: OAInstanceClosed) -> None:
    """The OA has ended its process: if that leaves us without a decision, a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is not None:
        await _ask_administrator(tx, approval, f"the OA ended it: {event.status}")


async def on_oa_drift(tx: Tx, event: OADriftDetected) -> None:
    """The OA contradicts us: nothing is decided by it, a person must look."""
    approval = await store.approval_for_change(tx, event.document_id, event.revision)
    if approval is not None:
        await _ask_administrator(tx, approval, f"the OA differs: {event.drift}")


async def on_employees(tx: Tx, batch: Sequence[Received[EmployeeUpdated]]) -> None:
    """Keep our copy; what people who are gone were asked goes to someone who is here.

    Where no one can take it, it stays: the next update of a person looks again.
    """
    await store.save_people(tx, [received.event for received in batch])
    causes = {received.event.employee_id: received for received in batch}
    for document, revision in await store.places_of_leavers(tx):
        approval = await store.approval_for_change(tx, document, revision)
        task = approval.current if approval is not None else None
        if approval is None or task is None:
            continue
        cause = causes.get(task.assignee_id, batch[-1]).origin
        # The road is the document's own, not the person's.
        with tx.caused_by(Origin(None, cause.causation_id, cause.traceparent)):
            found = await _successor(tx, approval, task.assignee_id)
            if found is not None:
                await _save(tx, *approval.handed_to(found, tx.now))


async def on_departments(tx: Tx, batch: Sequence[Received[DepartmentUpdated]]) -> None:
    await store.save_departments(tx, [received.event for received in batch])


async def decide_task(tx: Tx, id_: TaskId, verdict: Verdict) -> Task | None:
    """A decision in our own inbox; None when the task is not this person's.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA, ContentChanged, OpinionMissing: it does not count,
            and why.
    """
    place = await store.place_of_task(tx, id_, verdict.by)
    approval = await store.approval_for_change(tx, *place) if place is not None else None
    task = approval.task(id_) if approval is not None else None
    if approval is None or task is None:
        return None
    current = await _without_leaver(tx, approval, task)
    after, facts = current.decided(task, verdict, tx.now)
    await _save(tx, after, facts)
    return after.task(id_)


async def _without_leaver(tx: Tx, approval: Approval, task: Task) -> Approval:
    """The route, should the next person on it have left since it was planned."""
    following = approval.after(task)
    if following is None or await store.is_here(tx, following.found.approver_id):
        return approval
    found = await _successor(tx, approval, following.found.approver_id)
    return approval if found is None else approval.rerouted(following.step, found)


async def _successor(tx: Tx, approval: Approval, leaver_id: EmployeeId) -> Found | None:
    directory = await store.directory_around(tx, leaver_id, ())
    try:
        return find_successor(directory.people[leaver_id], approval.submitter_id, directory)
    except NoAdministrator:
        # To wait here would also hold up the update that names an administrator.
        log.warning("a leaver's step has no one to go to", document_id=approval.document_id)
        return None


async def _ask_administrator(tx: Tx, approval: Approval, why: str) -> None:
    task = approval.current
    if task is None or task.native:
        return  # it has ended, or a person of ours is asked already
    directory = await store.directory_around(tx, approval.submitter_id, ())
    try:
        found = administrator(approval.submitter_id, directory, why=why)
    except NoAdministrator as error:
        raise Retry("a person must look, and no one holds the role admin") from error
    await _save(tx, *approval.handed_to(found, tx.now))


async def _save(tx: Tx, approval: Approval, facts: Sequence[Event]) -> None:
    if facts:
        await store.save_approval(tx, approval)
        _emit(tx, facts)


def _emit(tx: Tx, facts: Sequence[Event]) -> None:
    for fact in facts:
        tx.emit(fact)
