"""One person's turn: what is asked, of whom, by which rule, until when, and what was said."""

from datetime import datetime
from enum import StrEnum

from events import ContentHash, DocumentId, EmployeeId, Money, TaskId
from events.workflow import Closing, Decision, OverdueAction, Verb
from msgspec import Struct

TONGLU = "tonglu"  # the `via` of what was done in our own inbox


class TaskStatus(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"  # 后加签: asked once the one who added it has approved
    OPEN = "open"
    DECIDED = "decided"
    CANCELLED = "cancelled"  # ended without a decision of its own


class Part(StrEnum):
    """What the decision on a task is for."""

    OWN = "own"  # the vote of the seat
    BEFORE = "before"  # 前加签: must agree before the vote
    AFTER = "after"  # 后加签: must agree after it
    OPINION = "opinion"  # 委托: it comes back, and counts for nothing by itself


class Question(Struct, frozen=True):
    """What is to be asked of whom, before it is known who stands in or took over.

    A step asked once is a round; a seat is one vote in it, numbered from 1. `in_tonglu`: there,
    though the approval has run in the OA so far.
    """

    step: int
    round: int
    seat: int
    person: EmployeeId
    rule: str
    part: Part = Part.OWN
    verb: Verb | None = None
    acting_for: EmployeeId | None = None
    added_by: EmployeeId | None = None
    in_tonglu: bool = False


class Task(Struct, frozen=True, omit_defaults=True):
    """One person's turn. `native`: decided in Tonglu, though the approval may run in the OA.

    `is_stranded`: its person has left, and no one is there yet who could take it. As JSON a new one
    is half as long without its defaults.
    """

    task_id: TaskId
    step: int
    round: int
    seat: int
    part: Part
    name: str
    assignee_id: EmployeeId
    rule: str
    native: bool
    assigned_at: datetime
    verb: Verb | None = None
    acting_for: EmployeeId | None = None
    added_by: EmployeeId | None = None
    due_at: datetime | None = None
    is_stranded: bool = False
    status: TaskStatus = TaskStatus.OPEN
    closing: Closing | None = None
    closed_at: datetime | None = None
    decision: Decision | None = None
    decided_by: EmployeeId | None = None
    via: str | None = None
    content_hash: ContentHash | None = None
    opinion: str | None = None
    decided_at: datetime | None = None
    automatic: str | None = None

    @property
    def number(self) -> int:
        """How many times its step had asked someone when it came."""
        return int(self.task_id.rpartition(".")[2])

    @property
    def meant(self) -> EmployeeId:
        """Who was to be asked, where a stand-in is."""
        if self.verb is Verb.STAND_IN and self.acting_for is not None:
            return self.acting_for
        return self.assignee_id

    @property
    def has_signed(self) -> bool:
        """Whether its person has said something that counts."""
        return self.decision is not None and self.part is not Part.OPINION

    @property
    def is_pending(self) -> bool:
        return self.status in (TaskStatus.OPEN, TaskStatus.WAITING)


class Due(Struct, frozen=True):
    """What is to be done about a task at an instant, should it still be open then."""

    task_id: TaskId
    at: datetime
    action: OverdueAction
    decision: Decision | None = None


class Verdict(Struct, frozen=True):
    """A decision as it reaches us: what, by whom, where, on which content.

    `automatic`: the rule that decided, where no person did; `by` is then who did not.
    """

    decision: Decision
    by: EmployeeId
    via: str
    content_hash: ContentHash
    decided_at: datetime
    opinion: str | None = None
    automatic: str | None = None


class Waiting(Struct, frozen=True):
    """An open task with what it is about, why it is this person's, and where it is decided."""

    total: Money
    part: Part
    task_id: TaskId
    document_id: DocumentId
    revision: int
    step: int
    step_name: str
    rule: str
    acting_for: EmployeeId | None
    title: str
    submitter_id: EmployeeId
    content_hash: ContentHash
    assignee_id: EmployeeId
    assigned_at: datetime
    due_at: datetime | None
    decide_in: str
