"""What a decision does: refused, or the first valid one, which asks on or ends the approval."""

from datetime import datetime

from events.workflow import Closing, Completion, Decision, Outcome
from msgspec.structs import replace

from workflow.approval.domain import voting
from workflow.approval.domain.approval import Approval
from workflow.approval.domain.refusals import (
    ContentChanged,
    DecideInOA,
    DecisionUnknown,
    NotAsked,
    OpinionMissing,
    TaskCancelled,
    TaskDecided,
)
from workflow.approval.domain.task import TONGLU, Part, Question, Task, TaskStatus, Verdict
from workflow.approval.domain.turns import Moment

_DECISIONS = (Decision.APPROVE, Decision.REJECT, Decision.RETURN)


def decided(approval: Approval, task: Task, verdict: Verdict, moment: Moment) -> Approval:
    """The first valid decision on a task counts.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA, NotAsked, DecisionUnknown, ContentChanged,
        OpinionMissing: it does not count, and why.
    """
    _refuse(approval, task, verdict)
    after = approval.answered(task, verdict)
    if task.part is Part.OPINION:
        return after.asked_again(task, moment)
    if verdict.decision is Decision.RETURN:
        return after.ended(Outcome.RETURNED, verdict.decided_at, moment.now)
    seat = after.seat_of(task)
    if verdict.decision is Decision.REJECT:  # nobody in the seat need say more
        rest = [one for one in seat if one.is_pending]
        after = after.closed(rest, Closing.STEP_DONE, moment.now)
    elif task.part is Part.BEFORE:
        is_last = not any(one.part is Part.BEFORE and one.is_pending for one in seat)
        return after.asked_again(task, moment) if is_last else after
    elif waiting := [one for one in seat if one.status is TaskStatus.WAITING]:
        for one in waiting:
            after = after.opened(one, moment)
        return after
    return tallied(after, task, verdict.decided_at, moment)


def require_open(approval: Approval, task: Task) -> None:
    """It can still be acted on, here.

    Raises:
        TaskDecided, TaskCancelled, DecideInOA: it cannot, and why.
    """
    require_undecided(task)
    if not task.native:
        raise DecideInOA(str(approval.tenant))


def require_undecided(task: Task) -> None:
    """It waits for a decision, wherever it is to be made.

    Raises:
        TaskDecided, TaskCancelled: it does not, and why.
    """
    if task.status is TaskStatus.DECIDED:
        raise TaskDecided(task)
    if task.status is not TaskStatus.OPEN:
        raise TaskCancelled(task)


def _refuse(approval: Approval, task: Task, verdict: Verdict) -> None:
    require_undecided(task)
    if verdict.via == TONGLU:
        require_open(approval, task)
    if verdict.by != task.assignee_id:
        raise NotAsked(f"decided by {verdict.by}, who was not asked")
    if verdict.decision not in _DECISIONS:
        raise DecisionUnknown("the decision is a word that we do not know")
    if verdict.content_hash != approval.content_hash:
        raise ContentChanged
    says_why = verdict.opinion or verdict.automatic or verdict.via != TONGLU
    if verdict.decision is not Decision.APPROVE and not says_why:
        raise OpinionMissing


def tallied(approval: Approval, task: Task, at: datetime, moment: Moment) -> Approval:
    """Where the round of this task stands: go on, end, or wait. `at`: when the last one decided."""
    planned = approval.planned(task.step)
    seats = voting.by_seat(approval.round_of(task.step))
    # Those before the first who is asked had agreed when it was sent back.
    votes: list[bool | None] = [True] * (min(seats) - 1)
    votes += [voting.vote(seats[number]) for number in sorted(seats)]
    is_agreed = voting.result(planned, votes)
    if is_agreed is False:
        return approval.ended(Outcome.REJECTED, at, moment.now)
    if is_agreed:
        return _gone_on(approval, task, at, moment)
    if planned.completion is Completion.SEQUENCE and votes[-1]:
        found = planned.found[len(votes)]
        seat = len(votes) + 1
        question = Question(task.step, task.round, seat, found.approver_id, found.rule)
        return approval.asking(question, moment)
    return approval


def _gone_on(approval: Approval, task: Task, at: datetime, moment: Moment) -> Approval:
    done = approval.closed(approval.pending(), Closing.STEP_DONE, moment.now)
    if done.back is not None:
        return replace(done, back=None).asked(done.back.step, moment, done.back)
    following = done.following(task.step)
    if following is not None:
        return done.asked(following.step, moment)
    return done.ended(Outcome.APPROVED, at, moment.now)
