"""When a step that asks one or several people is done, and with which answer."""

from collections.abc import Collection, Iterable, Mapping

from events.workflow import Completion, Decision

from workflow.approval.domain.task import Part, Task
from workflow.definition.domain.route import PlannedStep


def vote(seat: Iterable[Task]) -> bool | None:
    """What the tasks of one seat come to; None while it is not settled.

    A no of whoever signs in it is the seat's no; its yes needs the vote itself and all added after.
    """
    signed = [task for task in seat if task.part is not Part.OPINION]
    if any(task.decision is Decision.REJECT for task in signed):
        return False
    is_settled = is_agreed(signed) and not any(task.is_pending for task in signed)
    return True if is_settled else None


def is_agreed(seat: Iterable[Task]) -> bool:
    """Whether the one whose vote it is has said yes, whoever may still have to sign."""
    return any(task.part is Part.OWN and task.decision is Decision.APPROVE for task in seat)


def result(planned: PlannedStep, votes: Collection[bool | None]) -> bool | None:
    """Whether the step has agreed or refused; None while it can still do either."""
    asked, yes, no = len(planned.found), _count(votes, is_yes=True), _count(votes, is_yes=False)
    if planned.completion is Completion.RATIO and planned.ratio is not None:
        needed = -(-asked * planned.ratio // 100)
        if asked - no < needed:
            return False
        return True if yes >= needed else None
    if no:
        return False
    needed = 1 if planned.completion is Completion.ONE else asked
    return True if yes >= needed else None


def _count(votes: Collection[bool | None], *, is_yes: bool) -> int:
    return sum(vote is is_yes for vote in votes)


def by_seat(tasks: Iterable[Task]) -> Mapping[int, list[Task]]:
    """The tasks of one round, by the vote they are about."""
    seats: dict[int, list[Task]] = {}
    for task in tasks:
        seats.setdefault(task.seat, []).append(task)
    return seats
