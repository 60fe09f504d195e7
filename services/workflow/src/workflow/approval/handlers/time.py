"""What time and the directory bring: overdue tasks, windows of stand-ins, people who leave."""

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from chassis import Origin, Received, Tx
from events import EmployeeId
from events.directory import EmployeeUpdated, EmploymentStatus

from workflow.approval import store
from workflow.approval.domain import (
    Approval,
    Due,
    Moment,
    Task,
    acted_on,
    rerouted,
    stood_in,
)
from workflow.approval.handlers.changing import Change, keep, moment_for
from workflow.directory import handlers as directory_handlers
from workflow.standin.domain import Window

log = structlog.get_logger()


async def overdue(tx: Tx, due: Due) -> None:
    """Remind, escalate or decide, as the definition says of a step that takes too long."""
    for approval in (await store.approvals_of_tasks(tx, [due.task_id])).values():
        task = approval.task(due.task_id)
        if task is not None:
            people = {task.assignee_id, task.meant, *approval.may_be_asked(task)}
            moment = await moment_for(tx, [approval], people)
            await keep(tx, [Change(approval, acted_on(approval, due, moment))])


async def reassign_for_window(tx: Tx, window: Window) -> None:
    """The window has begun: what its person is asked now goes to the stand-in."""
    found = await store.approvals_asking(tx, [window.person_id])
    for kind in {one.kind for one in found.values()}:
        approvals = [one for one in found.values() if one.kind is kind]
        meant = {
            task.meant
            for one in approvals
            for task in one.open_tasks
            if task.assignee_id == window.person_id
        }
        moment = await moment_for(tx, approvals, {window.person_id, *meant})
        changes = [
            Change(one, _each(one, stood_in, {window.person_id}, moment)) for one in approvals
        ]
        await keep(tx, changes)


async def on_employees(tx: Tx, batch: Sequence[Received[EmployeeUpdated]]) -> None:
    """Keep our copy; what people who are gone were asked goes to someone who is here.

    Where no one can take it, it stays, marked: the next update of a person looks again.
    """
    await directory_handlers.on_employees(tx, batch)
    left = {
        one.event.employee_id for one in batch if one.event.status is not EmploymentStatus.ACTIVE
    }
    causes = {one.event.employee_id: one.origin for one in batch}
    await _reroute(tx, left, causes, batch[-1].origin)


async def reroute_leavers(tx: Tx) -> None:
    """The same for a task that came to a leaver just as the news of their leaving came."""
    people = await store.assignees(tx)
    directory = await directory_handlers.directory_around(tx, people)
    await _reroute(tx, {one for one in people if not directory.is_here(one)}, {}, tx.origin)


async def _reroute(
    tx: Tx, left: Collection[EmployeeId], causes: Mapping[EmployeeId, Origin], last: Origin
) -> None:
    found = await store.approvals_asking(tx, left, or_stranded=True)
    for kind in {one.kind for one in found.values()}:
        approvals = [one for one in found.values() if one.kind is kind]
        concerned = {
            person
            for one in approvals
            for task in one.open_tasks
            if task.is_stranded or task.assignee_id in left
            for person in (task.assignee_id, task.meant)
        }
        moment = await moment_for(tx, approvals, {*left, *concerned})
        await keep(tx, [_rerouted(one, moment, causes, last) for one in approvals])


def _rerouted(
    approval: Approval, moment: Moment, causes: Mapping[EmployeeId, Origin], last: Origin
) -> Change:
    """The road is the document's own, not the person's who left."""
    cause = next(
        (causes[one.assignee_id] for one in approval.open_tasks if one.assignee_id in causes), last
    )
    origin = Origin(None, cause.causation_id, cause.traceparent)
    after = _each(approval, rerouted, moment.gone, moment)
    if any(task.is_stranded for task in after.open_tasks):
        log.warning("a leaver's task has no one to go to", document_id=approval.document_id)
    return Change(approval, after, origin)


def _each(
    approval: Approval,
    move: Callable[[Approval, Task, Moment], Approval],
    people: Collection[EmployeeId],
    moment: Moment,
) -> Approval:
    """Move every open task of these people that is decided in Tonglu."""
    after = approval
    for task in approval.open_tasks:
        if task.native and task.assignee_id in people:
            after = move(after, task, moment)
    return after
