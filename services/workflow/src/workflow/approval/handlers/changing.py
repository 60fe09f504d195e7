"""What every change of approvals needs: what the world looks like now, and keeping what came of it.

Approvals are locked in one order, by document and revision, before anything is decided on them.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from chassis import Origin, Retry, Tx
from events import EmployeeId
from events.workflow import ApprovalActed, DocumentKind
from msgspec import Struct

from workflow.approval import store
from workflow.approval.domain import Approval, Moment, Task
from workflow.calendar.domain import WorkCalendar
from workflow.calendar.handlers import calendar
from workflow.definition.domain import NoAdministrator, administrator
from workflow.directory.domain import Directory
from workflow.directory.handlers import directory_around
from workflow.standin.handlers import stand_ins

NEWS_TAKES = timedelta(minutes=5)  # of a person, at the most: others do not wait for it longer
_NEVER_ASKED = WorkCalendar.of(())  # no step of theirs has a deadline


class Change(Struct, frozen=True):
    """An approval before and after. `before` None: it is new; `origin` None: the transaction's."""

    before: Approval | None
    after: Approval
    origin: Origin | None = None


async def moment_for(
    tx: Tx, approvals: Collection[Approval], people: Collection[EmployeeId]
) -> Moment:
    """The world around these people, for approvals of one kind: who is gone, who stands in."""
    now, calendar_ = await _time_of(tx, approvals)
    if not people:
        return Moment(now, calendar_)
    directory = await directory_around(tx, people)
    gone = frozenset(person for person in people if not directory.is_here(person))
    # Whoever takes over may be away too.
    asked = {*people, *directory.people} if gone else people
    kind = next((one.kind for one in approvals), DocumentKind.UNKNOWN)
    away = await stand_ins(tx, asked, kind, now)
    return Moment(now, calendar_, away, gone, directory)


async def moment_of_plan(
    tx: Tx, approvals: Collection[Approval], before: Collection[Approval]
) -> Moment:
    """The same for routes that have just been planned: whom they name is here.

    Who sent one back `before` may be asked first, and may have left since.
    """
    if before:
        planned = {
            found.approver_id for one in approvals for step in one.route for found in step.found
        }
        asked = {task.meant for one in before for task in one.tasks}
        return await moment_for(tx, approvals, planned | asked)
    now, calendar_ = await _time_of(tx, approvals)
    people = {
        found.approver_id for one in approvals for step in one.route[:1] for found in step.found
    }
    kind = next((one.kind for one in approvals), DocumentKind.UNKNOWN)
    away = await stand_ins(tx, people, kind, now) if people else {}
    return Moment(now, calendar_, away)


async def _time_of(tx: Tx, approvals: Iterable[Approval]) -> tuple[datetime, WorkCalendar]:
    """Deadlines begin by the clock by which they are acted on: the database's."""
    if any(step.deadline is not None for one in approvals for step in one.route):
        return await store.now(tx), await calendar(tx)
    return tx.now, _NEVER_ASKED


async def keep(tx: Tx, changes: Sequence[Change]) -> None:
    """Save what changed and say what happened; the number of statements does not grow with them."""
    changed = [change for change in changes if change.after is not change.before]
    if not changed:
        return
    # First: no two revisions of a document are open at once.
    if old := [change.after for change in changed if _is_moved(change)]:
        await store.save_approvals(tx, old)
    if new := [change.after for change in changed if change.before is None]:
        await store.add_approvals(tx, new, tx.now)
    await store.save_tasks(
        tx, [(change.after.place, task) for change in changed for task in _tasks(change)]
    )
    if dues := [due for change in changed for due in change.after.dues]:
        await store.add_dues(tx, dues)
    acts = []
    for change in changed:
        for fact in change.after.facts:
            tx.emit(fact, origin=change.origin)
            if isinstance(fact, ApprovalActed):
                acts.append(fact)
    if acts:
        await store.add_acts(tx, acts)


def _is_moved(change: Change) -> bool:
    """Whether the approval's own row differs."""
    before, after = change.before, change.after
    return before is not None and (before.status, before.back, before.route) != (
        *(after.status, after.back, after.route),
    )


def _tasks(change: Change) -> Sequence[Task]:
    """Those that are new or another than before."""
    if change.before is None:
        return change.after.tasks
    known = set(map(id, change.before.tasks))
    return [task for task in change.after.tasks if id(task) not in known]


async def ask_administrator(tx: Tx, approval: Approval, why: str) -> None:
    """The step that waits in the OA is asked of an administrator, in Tonglu from here on."""
    if approval.current_step is None or approval.runs_here:
        return  # it has ended, or a person of ours is asked already
    directory: Directory = await directory_around(tx, {approval.submitter_id})
    try:
        found = administrator(approval.submitter_id, directory, why=why)
    except NoAdministrator as error:
        reason = "a person must look, and no one but the submitter holds the role admin"
        raise Retry(reason, at_most=NEWS_TAKES) from error
    moment = await moment_for(tx, [approval], {found.approver_id})
    await keep(tx, [Change(approval, approval.taken_over(found, moment))])
