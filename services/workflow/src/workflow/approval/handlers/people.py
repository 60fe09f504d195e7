"""What people do in Tonglu's inbox: decide, one task or many, and everything besides."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from chassis import Origin, Tx
from events import EmployeeId, TaskId
from events.workflow import DocumentKind, Verb
from msgspec import Struct

from workflow.approval import store
from workflow.approval.domain import (
    Act,
    Approval,
    ContentChanged,
    DecideInOA,
    Moment,
    OpinionMissing,
    Place,
    Task,
    TaskCancelled,
    TaskDecided,
    TaskStatus,
    Verdict,
    added_after,
    added_before,
    content_changed,
    copied,
    decided,
    delegated,
    moves,
    noted,
    removed,
    returned_to_step,
    takes_part,
    transferred,
    urged,
)
from workflow.approval.handlers.changing import Change, keep, moment_for

Refused = TaskDecided | TaskCancelled | DecideInOA | ContentChanged | OpinionMissing
_REFUSED = (TaskDecided, TaskCancelled, DecideInOA, ContentChanged, OpinionMissing)
_Move = Callable[[Approval, Task, Act, Moment], Approval]
_MINE: Mapping[Verb, _Move] = {
    Verb.TRANSFER: transferred,
    Verb.DELEGATE: delegated,
    Verb.ADD_SIGN_BEFORE: added_before,
    Verb.ADD_SIGN_AFTER: added_after,
    Verb.REMOVE_SIGN: removed,
    Verb.RETURN_TO_STEP: returned_to_step,
}


async def decide_tasks(
    tx: Tx, asked: Sequence[tuple[TaskId, Verdict]], origins: Mapping[TaskId, Origin] | None = None
) -> list[Task | Refused | None]:
    """Decisions in our own inbox, each with its own result; None: the task is not this person's.

    Two on one task: the first counts. A refused one has no effect, and the others have. `origins`:
    where each comes from, should one transaction serve several requests.
    """
    before = await store.approvals_of_tasks(tx, {id_ for id_, _ in asked})
    after = dict(before)
    places = {task.task_id: place for place, one in before.items() for task in one.tasks}
    moments = await _moments(tx, before, places, asked)
    results: list[Task | Refused | None] = []
    for id_, verdict in asked:
        approval = after[places[id_]] if id_ in places else None
        task = _mine(approval, id_, verdict.by)
        if approval is None or task is None:
            results.append(None)
            continue
        try:
            moment = moments[approval.kind]
            after[places[id_]] = decided(approval, task, verdict, moment)
            results.append(after[places[id_]].task(id_))
        except ContentChanged:
            seen = await store.revision_with(tx, approval.document_id, verdict.content_hash)
            results.append(content_changed(seen, approval))
        except _REFUSED as refused:
            results.append(refused)
    causes = {places[id_]: one for id_, one in (origins or {}).items() if id_ in places}
    await keep(tx, [Change(before[one], after[one], causes.get(one)) for one in before])
    return results


async def decide_task(tx: Tx, id_: TaskId, verdict: Verdict) -> Task | None:
    """One decision in our own inbox; None when the task is not this person's.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA, ContentChanged, OpinionMissing: it does not count,
            and why.
    """
    (result,) = await decide_tasks(tx, [(id_, verdict)])
    if isinstance(result, Exception):
        raise result
    return result


async def act_on_task(tx: Tx, id_: TaskId, verb: Verb, act: Act) -> Approval | None:
    """Something besides deciding; None where this person has no part in it.

    Raises:
        what `domain.verbs` raises for that verb.
    """
    found = await store.approvals_of_tasks(tx, [id_])
    for place, approval in found.items():
        task = approval.task(id_)
        if task is None or not await _may_act(tx, approval, task, verb, act.by):
            return None
        people = {*act.targets, *approval.may_be_asked(task), task.assignee_id}
        people |= {one.approver_id for step in approval.route for one in step.found}
        moment = await moment_for(tx, [approval], people)
        if verb is Verb.URGE:
            last = await store.last_urged(tx, place, id_)
            after = urged(approval, task, act, last, moment)
        elif verb in _MINE:
            after = _MINE[verb](approval, task, act, moment)
        elif verb is Verb.COPY:
            after = copied(approval, task, act, moment)
        else:
            after = noted(approval, verb, act, moment, task)
        await keep(tx, [Change(approval, after)])
        return after
    return None


class Look(Struct, frozen=True):
    """A task with its approval and what whoever looks may do about it."""

    approval: Approval
    task: Task
    moves: tuple[str, ...]


async def look_at_task(
    tx: Tx, id_: TaskId, me: EmployeeId, *, sees_all: bool = False
) -> Look | None:
    """None where this person has no part in it."""
    approval = await store.of_task(tx, id_)
    task = approval.task(id_) if approval is not None else None
    if approval is None or task is None:
        return None
    has_part = await _has_part(tx, approval, me)
    if not sees_all and not has_part:
        return None
    return Look(approval, task, moves(approval, task, me) if has_part else ())


async def _may_act(tx: Tx, approval: Approval, task: Task, verb: Verb, me: EmployeeId) -> bool:
    """Only its person moves a task; whoever has a part may send copies, comment, urge."""
    return task.assignee_id == me if verb in _MINE else await _has_part(tx, approval, me)


async def _has_part(tx: Tx, approval: Approval, me: EmployeeId) -> bool:
    return takes_part(approval, me) or await store.is_copied(tx, approval.place, me)


def _mine(approval: Approval | None, id_: TaskId, person: EmployeeId) -> Task | None:
    """The task, if this person is or was asked it."""
    task = approval.task(id_) if approval is not None else None
    if task is None or task.assignee_id != person or task.status is TaskStatus.WAITING:
        return None
    return task


async def _moments(
    tx: Tx,
    found: Mapping[Place, Approval],
    places: Mapping[TaskId, Place],
    asked: Iterable[tuple[TaskId, Verdict]],
) -> dict[DocumentKind, Moment]:
    """For each kind of document in question, the world around those who may be asked next."""
    moments = {}
    for kind in {one.kind for one in found.values()}:
        approvals = [one for one in found.values() if one.kind is kind]
        people = set()
        for id_, _ in asked:
            approval = found[places[id_]] if id_ in places else None
            task = approval.task(id_) if approval is not None else None
            if approval is not None and task is not None and approval.kind is kind:
                people |= approval.may_be_asked(task)
        moments[kind] = await moment_for(tx, approvals, people)
    return moments
