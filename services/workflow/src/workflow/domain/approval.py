"""The approval of one revision of one document: whom it asks, and what a decision does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from events import ContentHash, DocumentId, EmployeeId, Event, Money, TaskId, TenantId
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Decision,
    DocumentKind,
    Mode,
    Outcome,
)

from workflow.domain.planning import Found, PlannedStep

TONGLU = "tonglu"  # the `via` of a decision that was made in our own inbox
_OUTCOME: Mapping[Decision, Outcome] = {
    Decision.APPROVE: Outcome.APPROVED,
    Decision.REJECT: Outcome.REJECTED,
    Decision.RETURN: Outcome.RETURNED,
}


class Status(StrEnum):
    """Where an approval stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    CANCELLED = "cancelled"


class TaskStatus(StrEnum):
    """Where a task stands."""

    OPEN = "open"
    DECIDED = "decided"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Task:
    """One person's turn. `native`: decided in Tonglu, though the approval may run in the OA."""

    task_id: TaskId
    step: int
    name: str
    assignee_id: EmployeeId
    native: bool
    assigned_at: datetime
    status: TaskStatus = TaskStatus.OPEN
    decision: Decision | None = None
    decided_by: EmployeeId | None = None
    via: str | None = None
    opinion: str | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open task with what it is about, why it is this person's, and where it is decided."""

    task_id: TaskId
    document_id: DocumentId
    revision: int
    step: int
    step_name: str
    rule: str
    title: str
    total: Money
    submitter_id: EmployeeId
    content_hash: ContentHash
    assigned_at: datetime
    decide_in: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision as it reaches us: what, by whom, where, on which content."""

    decision: Decision
    by: EmployeeId
    via: str
    content_hash: ContentHash
    decided_at: datetime
    opinion: str | None = None


class TaskDecided(Exception):
    """Someone has decided this task already."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.task_id)
        self.decision = str(task.decision)
        self.decided_by = str(task.decided_by)
        self.via = str(task.via)
        self.decided_at = task.decided_at.isoformat() if task.decided_at else ""


class TaskCancelled(Exception):
    """The task was called off, or handed to someone else."""


class DecideInOA(Exception):
    """The approval runs in the OA, and is decided there."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant


class NotAsked(Exception):
    """The decision is by someone whose turn it is not."""


class DecisionUnknown(Exception):
    """The decision is a word that we do not know, so never a yes."""


class ContentChanged(Exception):
    """The decision was made on another content than the one in question."""


class OpinionMissing(Exception):
    """A return or a rejection in our inbox says why."""

    def __init__(self) -> None:
        super().__init__()
        self.field = "/opinion"


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval of one revision of one document; transitions return new state and facts."""

    document_id: DocumentId
    revision: int
    kind: DocumentKind
    definition: str
    mode: Mode
    tenant: TenantId | None
    submitter_id: EmployeeId
    title: str
    total: Money
    content_hash: ContentHash
    route: tuple[PlannedStep, ...]
    tasks: tuple[Task, ...] = ()
    status: Status = Status.OPEN

    @property
    def current(self) -> Task | None:
        """The task that waits, if any."""
        return next((task for task in self.tasks if task.status is TaskStatus.OPEN), None)

    @property
    def runs_here(self) -> bool:
        """In our inbox: from the start, or since a task was called off. The OA may have lost it."""
        called_off = any(task.status is TaskStatus.CANCELLED for task in self.tasks)
        return called_off or self.mode is Mode.NATIVE

    def task(self, id_: TaskId) -> Task | None:
        return next((task for task in self.tasks if task.task_id == id_), None)

    def after(self, task: Task) -> PlannedStep | None:
        """The step that follows when this task is approved."""
        return next((planned for planned in self.route if planned.step > task.step), None)

    def rerouted(self, step: int, found: Found) -> "Approval":
        """The route with another person in one step."""
        route = tuple(
            replace(planned, found=found) if planned.step == step else planned
            for planned in self.route
        )
        return replace(self, route=route)

    def asked(self, step: int, now: datetime) -> tuple["Approval", tuple[Event, ...]]:
        """It is the turn of whom the route names for this step."""
        planned = self.route[step - 1]
        turn = sum(task.step == step for task in self.tasks) + 1
        task = Task(
            task_id=TaskId(f"{self.document_id}.{self.revision}.{step}.{turn}"),
            step=step,
            name=planned.name,
            assignee_id=planned.found.approver_id,
            native=self.runs_here,
            assigned_at=now,
        )
        fact = ApprovalTaskAssigned(
            document_id=self.document_id,
            revision=self.revision,
            task_id=task.task_id,
            step=step,
            step_name=task.name,
            assignee_id=task.assignee_id,
            assigned_at=now,
        )
        return replace(self, tasks=(*self.tasks, task)), (fact,)

    def decided(
        self, task: Task, verdict: Verdict, now: datetime
    ) -> tuple["Approval", tuple[Event, ...]]:
        """The first valid decision on a task counts: ask on, or end.

        Raises:
            TaskDecided, TaskCancelled, DecideInOA, NotAsked, DecisionUnknown, ContentChanged,
            OpinionMissing: it does not count, and why.
        """
        self._refuse(task, verdict)
        done = self._with(_done(task, verdict))
        said = ApprovalTaskDecided(
            document_id=self.document_id,
            revision=self.revision,
            task_id=task.task_id,
            step=task.step,
            decision=verdict.decision,
            decided_by=verdict.by,
            via=verdict.via,
            content_hash=verdict.content_hash,
            opinion=verdict.opinion,
            decided_at=verdict.decided_at,
        )
        following = self.after(task)
        if verdict.decision is Decision.APPROVE and following is not None:
            after, facts = done.asked(following.step, now)
            return after, (said, *facts)
        outcome = _OUTCOME[verdict.decision]
        return replace(done, status=Status(outcome)), (said, self._ended(outcome, verdict))

    def handed_to(self, found: Found, now: datetime) -> tuple["Approval", tuple[Event, ...]]:
        """The open task is called off, and its step asked of another person, in our inbox."""
        task = self.current
        if task is None:
            return self, ()
        called_off = self._with(replace(task, status=TaskStatus.CANCELLED))
        return called_off.rerouted(task.step, found).asked(task.step, now)

    def cancelled(self, now: datetime) -> tuple["Approval", tuple[Event, ...]]:
        """Its document was withdrawn, or handed in anew. An ended approval stays as it is."""
        task = self.current
        if task is None:
            return self, ()
        called_off = self._with(replace(task, status=TaskStatus.CANCELLED))
        fact = ApprovalCancelled(
            document_id=self.document_id, revision=self.revision, cancelled_at=now
        )
        return replace(called_off, status=Status.CANCELLED), (fact,)

    def _refuse(self, task: Task, verdict: Verdict) -> None:
        if task.status is TaskStatus.DECIDED:
            raise TaskDecided(task)
        if task.status is TaskStatus.CANCELLED:
            raise TaskCancelled
        if verdict.via == TONGLU and not task.native:
            raise DecideInOA(str(self.tenant))
        if verdict.by != task.assignee_id:
            raise NotAsked(f"decided by {verdict.by}, who was not asked")
        if verdict.decision not in _OUTCOME:
            raise DecisionUnknown("the decision is a word that we do not know")
        if verdict.content_hash != self.content_hash:
            raise ContentChanged("decided on another content")
        is_yes = verdict.decision is Decision.APPROVE
        if verdict.via == TONGLU and not is_yes and not verdict.opinion:
            raise OpinionMissing

    def _with(self, changed: Task) -> "Approval":
        tasks = tuple(changed if task.task_id == changed.task_id else task for task in self.tasks)
        return replace(self, tasks=tasks)

    def _ended(self, outcome: Outcome, verdict: Verdict) -> ApprovalDecided:
        return ApprovalDecided(
            document_id=self.document_id,
            document_kind=self.kind,
            revision=self.revision,
            outcome=outcome,
            content_hash=self.content_hash,
            decided_at=verdict.decided_at,
        )


def _done(task: Task, verdict: Verdict) -> Task:
    return replace(
        task,
        status=TaskStatus.DECIDED,
        decision=verdict.decision,
        decided_by=verdict.by,
        via=verdict.via,
        opinion=verdict.opinion,
        decided_at=verdict.decided_at,
    )
