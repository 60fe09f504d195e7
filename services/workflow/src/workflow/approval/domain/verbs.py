"""What people may do about a task besides deciding it: each with its event, or refused."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from events import EmployeeId
from events.workflow import ApprovalActed, Closing, Verb
from msgspec import Struct
from msgspec.structs import replace

from workflow.approval.domain import voting
from workflow.approval.domain.approval import Approval, Back, Status
from workflow.approval.domain.deciding import require_open, require_undecided, tallied
from workflow.approval.domain.refusals import (
    NotRemovable,
    NotYoursToUrge,
    NotYourVote,
    OpinionMissing,
    StepNotDone,
    TargetAsked,
    TargetIsSubmitter,
    UrgedAlready,
)
from workflow.approval.domain.task import TONGLU, Part, Question, Task
from workflow.approval.domain.turns import Moment
from workflow.definition.domain.route import Found
from workflow.standin.domain import PersonNotHere

URGE_PAUSE = timedelta(hours=1)


class Act(Struct, frozen=True):
    """What somebody does in our inbox: who, to whom, with which words.

    `to_step`: the step it goes back to; `is_straight`: and from there straight to who sent it.
    """

    by: EmployeeId
    targets: tuple[EmployeeId, ...] = ()
    text: str | None = None
    to_step: int | None = None
    is_straight: bool = False


def transferred(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """转交: my task becomes that of another person.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA, PersonNotHere, TargetIsSubmitter, TargetAsked.
    """
    require_open(approval, task)
    (target,) = _welcome(approval, task, act.targets, moment)
    found = Found(target, f"transfer({act.by})")
    said = noted(approval, Verb.TRANSFER, act, moment, task)
    return said.moved(task, found, Verb.TRANSFER, Closing.TRANSFERRED, moment)


def delegated(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """委托: another person gives an opinion, then I am asked again.

    Raises:
        NotYourVote, and what `transferred` raises.
    """
    _require_vote(approval, task)
    (target,) = _welcome(approval, task, act.targets, moment)
    question = Question(
        *(task.step, task.round, task.seat, target, f"delegate({act.by})", Part.OPINION),
        verb=Verb.DELEGATE,
        acting_for=act.by,
    )
    said = noted(approval, Verb.DELEGATE, act, moment, task)
    return said.closed([task], Closing.TRANSFERRED, moment.now).asking(question, moment)


def added_before(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """前加签: these people must agree before I am asked again.

    Raises:
        NotYourVote, and what `transferred` raises.
    """
    _require_vote(approval, task)
    targets = _welcome(approval, task, act.targets, moment)
    said = noted(approval, Verb.ADD_SIGN_BEFORE, act, moment, task)
    after = said.closed([task], Closing.TRANSFERRED, moment.now)
    question = _added(task, act.by, Part.BEFORE)
    return _adding(after, targets, question, moment)


def added_after(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """后加签: these people are asked once I have approved, and must agree too.

    Raises:
        NotYourVote, and what `transferred` raises.
    """
    _require_vote(approval, task)
    targets = _welcome(approval, task, act.targets, moment)
    said = noted(approval, Verb.ADD_SIGN_AFTER, act, moment, task)
    return _adding(said, targets, _added(task, act.by, Part.AFTER), moment)


def removed(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """减签: those whom I added and who have not decided are asked no more.

    Raises:
        NotRemovable: one of them is none of those.
    """
    mine = removable(approval, task, act.by)
    for target in act.targets:
        if target not in {one.meant for one in mine}:
            raise NotRemovable(target)
    over = [one for one in mine if one.meant in act.targets]
    said = noted(approval, Verb.REMOVE_SIGN, act, moment, task)
    after = said.closed(over, Closing.REMOVED, moment.now)
    seat = after.seat_of(task)
    if any(one.part is Part.BEFORE for one in over):
        is_last = not any(one.part is Part.BEFORE and one.is_pending for one in seat)
        return after.asked_again(task, moment) if is_last else after
    is_settled = voting.vote(seat) is not None
    return tallied(after, task, moment.now, moment) if is_settled else after


def returned_to_step(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """退回: an earlier step is asked anew; the route goes on from there, or comes straight back.

    Raises:
        StepNotDone, OpinionMissing, NotYourVote, and what `transferred` raises.
    """
    _require_vote(approval, task)
    done = done_steps(approval, task)
    if act.to_step not in done:
        raise StepNotDone(act.to_step, done)
    if not act.text:
        raise OpinionMissing("/text")
    back = Back(task.step, task.seat, task.meant) if act.is_straight else None
    said = noted(approval, Verb.RETURN_TO_STEP, act, moment, task)
    return said.returned_to(act.to_step, back, moment)


def copied(approval: Approval, task: Task, act: Act, moment: Moment) -> Approval:
    """抄送: these people may read it.

    Raises:
        PersonNotHere: one of them is unknown, or has left.
    """
    for target in act.targets:
        if target in moment.gone:
            raise PersonNotHere(target)
    return noted(approval, Verb.COPY, act, moment, task)


def urged(
    approval: Approval, task: Task, act: Act, last: datetime | None, moment: Moment
) -> Approval:
    """催办: remind the one whose turn it is, at most once an hour. `last`: when it was last done.

    Raises:
        TaskDecided, TaskCancelled, NotYoursToUrge, UrgedAlready.
    """
    require_undecided(task)
    if not may_urge(approval, act.by):
        raise NotYoursToUrge
    if last is not None and moment.now < last + URGE_PAUSE:
        raise UrgedAlready(last, URGE_PAUSE)
    reminded = Act(act.by, (task.assignee_id,), act.text)
    return noted(approval, Verb.URGE, reminded, moment, task)


def noted(approval: Approval, verb: Verb, act: Act, moment: Moment, task: Task) -> Approval:
    """It was done; where it changes no task, that is all."""
    return approval.saying(
        ApprovalActed(
            document_id=approval.document_id,
            revision=approval.revision,
            task_id=task.task_id,
            verb=verb,
            by=act.by,
            via=TONGLU,
            targets=act.targets,
            to_step=act.to_step,
            text=act.text,
            acted_at=moment.now,
        )
    )


def moves(approval: Approval, task: Task, me: EmployeeId) -> tuple[str, ...]:
    """What this person may do about the task now, in the words of the events."""
    allowed: list[str] = []
    if task.assignee_id == me and task.native and task in approval.open_tasks:
        allowed += ["approve", "reject", "return", Verb.TRANSFER]
        if task.part is Part.OWN:
            allowed += [Verb.DELEGATE, Verb.ADD_SIGN_BEFORE, Verb.ADD_SIGN_AFTER]
            allowed += [Verb.RETURN_TO_STEP] if done_steps(approval, task) else []
    if task.assignee_id == me and removable(approval, task, me):
        allowed.append(Verb.REMOVE_SIGN)
    if task in approval.open_tasks and may_urge(approval, me):
        allowed.append(Verb.URGE)
    return (*map(str, allowed), str(Verb.COPY), str(Verb.COMMENT))


def done_steps(approval: Approval, task: Task) -> tuple[int, ...]:
    """The steps before this task's, to which it can go back: done now, or in the last revision."""
    return tuple(one.step for one in approval.route if one.step < task.step)


def removable(approval: Approval, task: Task, by: EmployeeId) -> list[Task]:
    """Those in the seat of this task whom this person added and who have not decided."""
    if approval.status is not Status.OPEN or task not in approval.round_of(task.step):
        return []
    return [one for one in approval.seat_of(task) if one.is_pending and one.added_by == by]


def may_urge(approval: Approval, person: EmployeeId) -> bool:
    """The submitter, and who has decided here before."""
    return person == approval.submitter_id or any(
        task.decided_by == person for task in approval.tasks
    )


def takes_part(approval: Approval, person: EmployeeId) -> bool:
    """Whether this person handed it in, is in its route, or has been asked."""
    asked = {one.assignee_id for one in approval.tasks} | {one.acting_for for one in approval.tasks}
    named = {found.approver_id for step in approval.route for found in step.found}
    return person == approval.submitter_id or person in asked | named


def _require_vote(approval: Approval, task: Task) -> None:
    require_open(approval, task)
    if task.part is not Part.OWN:
        raise NotYourVote(task.part)


def _welcome(
    approval: Approval, task: Task, targets: Iterable[EmployeeId], moment: Moment
) -> tuple[EmployeeId, ...]:
    """Those targets, if each is here, is not the submitter, and neither is asked nor has signed.

    Whoever had the task before, and handed it on, can have it back.
    """
    asked = approval.others_of(task) | {task.assignee_id}
    for target in targets:
        if target in moment.gone:
            raise PersonNotHere(target)
        if target == approval.submitter_id:
            raise TargetIsSubmitter(target)
        if target in asked:
            raise TargetAsked(target)
    return tuple(targets)


def _added(task: Task, by: EmployeeId, part: Part) -> Question:
    """What whoever is added to the seat of this task is asked."""
    verb = Verb.ADD_SIGN_BEFORE if part is Part.BEFORE else Verb.ADD_SIGN_AFTER
    rule = f"add_sign({by})"
    return Question(task.step, task.round, task.seat, by, rule, part, verb=verb, added_by=by)


def _adding(
    approval: Approval, targets: Iterable[EmployeeId], question: Question, moment: Moment
) -> Approval:
    for target in targets:
        approval = approval.asking(replace(question, person=target), moment)
    return approval
