"""Whose turn it really is: a stand-in's where someone is away, up the line where one has left."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal

from events import EmployeeId
from events.workflow import Decision, OverdueAction, Verb
from msgspec import Struct, field
from msgspec.structs import replace

from workflow.approval.domain.task import Due, Part, Question, Task
from workflow.calendar.domain import WorkCalendar
from workflow.definition.domain import (
    Deadline,
    Found,
    NoAdministrator,
    administrator,
    find_successor,
)
from workflow.directory.domain import Directory


class Moment(Struct, frozen=True):
    """What a change needs to know of the world: the time, who is gone, who stands in for whom.

    `gone`: of the people in question, those who are unknown or have left; `directory` holds the
    lines above them and the administrators.
    """

    now: datetime
    calendar: WorkCalendar
    stand_ins: Mapping[EmployeeId, EmployeeId] = field(default_factory=dict)
    gone: Collection[EmployeeId] = ()
    directory: Directory = field(default_factory=lambda: Directory({}, {}))


class Turn(Struct, frozen=True):
    """Who is asked in the end, and by which rule."""

    person: EmployeeId
    rule: str
    verb: Verb | None
    acting_for: EmployeeId | None
    is_stranded: bool = False


def turn(
    question: Question, submitter: EmployeeId, others: Collection[EmployeeId], moment: Moment
) -> Turn:
    """Never the submitter; never someone who has left, unless there is no one else at all.

    `others`: who is asked in the step besides.
    """
    asked = as_asked(question)
    if question.person in moment.gone:
        found = above(question.person, submitter, others, moment.directory)
        if found is None:
            return replace(asked, is_stranded=True)
        asked = Turn(found.approver_id, found.rule, Verb.REROUTE, question.acting_for)
    stand_in = moment.stand_ins.get(asked.person, submitter)
    if stand_in == submitter:
        return asked
    return Turn(stand_in, f"stand_in({asked.person})", Verb.STAND_IN, asked.person)


def as_asked(question: Question) -> Turn:
    """The person in question, whoever stands in."""
    return Turn(question.person, question.rule, question.verb, question.acting_for)


def above(
    person: EmployeeId,
    submitter: EmployeeId,
    others: Collection[EmployeeId],
    directory: Directory,
) -> Found | None:
    """Up the line from this person, or an administrator; None where there is none either.

    `others`, who is asked in the step besides, only where no one else is above.
    """
    try:
        known = directory.people.get(person)
        if known is None:
            return administrator(submitter, directory, why=f"{person} is unknown")
        return find_successor(known, submitter, directory, others)
    except NoAdministrator:
        return None


def deadlines(
    deadline: Deadline, task: Task, asked_at: datetime, moment: Moment, *, is_escalated: bool
) -> list[Due]:
    """What is still to be done about a task whose step was asked then.

    The clock is the step's: handing a task on neither stops nor restarts it. What has passed
    meanwhile is done at once, but for reminders; what has been escalated is not escalated again,
    nor a question to someone besides because of the time before it was put.
    """
    planned: list[tuple[Decimal, OverdueAction, Decision | None]] = [
        (hours, OverdueAction.REMIND, None) for hours in deadline.remind
    ]
    if deadline.escalate is not None and not is_escalated:
        planned.append((deadline.escalate, OverdueAction.ESCALATE, None))
    if deadline.decide is not None:
        hours, decision = deadline.decide
        planned.append((hours, OverdueAction.DECIDE, decision))
    dues = (
        Due(task.task_id, moment.calendar.after(asked_at, hours), action, decision)
        for hours, action, decision in planned
    )
    at_once = {OverdueAction.DECIDE, *([OverdueAction.ESCALATE] if task.part is Part.OWN else [])}
    return [due for due in dues if due.at > moment.now or due.action in at_once]
