"""The approval of one revision of a document: its tasks, and what each move makes of it."""

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

from workflow.domain.directory import Found

TONGLU = "tonglu"  # the `via` of a decision that was made in our own inbox
_OUTCOME = {
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
class PlannedStep:
    """One step of a route with the person who was found for it."""

    step: int
    name: str
    found: Found


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision as it reaches us: what, by whom, in which system, on which content."""

    decision: Decision
    by: EmployeeId
    via: str
    content_hash: ContentHash
    decided_at: datetime
    opinion: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One person's turn. `found` says whose and why; `verdict` is set once it is decided."""

    task_id: TaskId
    step: int
    name: str
    found: Found
    assigned_at: datetime
    status: TaskStatus = TaskStatus.OPEN
    verdict: Verdict | None = None


class TaskDecided(Exception):
    """The task has been decided: by whom, when and in which system."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.decision.value)
        self.decision = verdict.decision.value
        self.decided_by = verdict.by
        self.decided_at = verdict.decided_at.isoformat()
        self.via = verdict.via


class TaskCancelled(Exception):
    """The task was called off: the document was withdrawn, or another person was asked."""


class ContentChanged(Exception):
    """The decision was made on another content than the one in question."""

    def __init__(self, shown: ContentHash, current: ContentHash) -> None:
        super().__init__(shown)
        self.shown, self.current = shown, current


class DecideInOA(Exception):
    """The approval runs in the OA, and is decided there."""

    def __init__(self, tenant: TenantId | None) -> None:
        super().__init__(tenant)
        self.tenant = tenant


class OpinionMissing(Exception):
    """A return or a rejection says why."""


class OwnDocument(Exception):
    """No one decides on a document of their own."""


class DecisionTooEarly(Exception):
    """The OA reports a later step before the one that is asked now."""


class DecisionDoubtful(Exception):
    """What the OA reports must not count before a person has looked; the message says why."""


Moved = tuple["Approval", tuple[Event, ...]]


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval of one revision; every move returns the new state and what has happened.

    `mode` is where it is decided now: what begins in an OA is taken over by Tonglu for good when
    the OA cannot be relied on. `tenant` keeps the OA in which it began.
    """

    document_id: DocumentId
    revision: int
    kind: DocumentKind
    definition: str
    mode: Mode
    tenant: TenantId | None
    submitter_id: EmployeeId
    title: str
    total: Money
    details: tuple[str, ...]
    content_hash: ContentHash
    route: tuple[PlannedStep, ...]
    tasks: tuple[Task, ...] = ()
    status: Status = Status.OPEN

    @property
    def waiting(self) -> Task | None:
        """The task that waits for a decision; there is one as long as the approval is open."""
        return next((task for task in self.tasks if task.status is TaskStatus.OPEN), None)

    def task(self, id_: TaskId) -> Task | None:
        return next((task for task in self.tasks if task.task_id == id_), None)

    def after(self, step: int) -> PlannedStep | None:
        """The planned step that follows this one."""
        return next((planned for planned in self.route if planned.step > step), None)

    def check_native(self, task: Task, verdict: Verdict) -> None:
        """Whether a decision in our own inbox counts.

        Raises:
            TaskDecided, TaskCancelled, DecideInOA, OwnDocument, ContentChanged, OpinionMissing.
        """
        if task.verdict is not None:
            raise TaskDecided(task.verdict)
        if task.status is not TaskStatus.OPEN:
            raise TaskCancelled
        if self.mode is not Mode.NATIVE:
            raise DecideInOA(self.tenant)
        if verdict.by == self.submitter_id:
            raise OwnDocument
        if verdict.content_hash != self.content_hash:
            raise ContentChanged(verdict.content_hash, self.content_hash)
        if verdict.decision is not Decision.APPROVE and not verdict.opinion:
            raise OpinionMissing

    def check_from_oa(self, step: int, verdict: Verdict, *, is_employee: bool) -> Task | None:
        """The task that a decision of the OA counts for; None when it comes late or again.

        `is_employee`: whether who decided works here; the OA may have asked someone else.

        Raises:
            DecisionTooEarly, DecisionDoubtful: it does not count, and why.
        """
        task = self.waiting
        if task is None or self.mode is not Mode.DELEGATED or step < task.step:
            return None
        if step > task.step:
            raise DecisionTooEarly(f"step {step} was decided in the OA before step {task.step}")
        if verdict.decision not in _OUTCOME:
            raise DecisionDoubtful("the OA reports a decision that we do not know")
        if verdict.by == self.submitter_id:
            raise DecisionDoubtful("the submitter decided in the OA")
        if verdict.by != task.found.approver_id and not is_employee:
            raise DecisionDoubtful(f"{verdict.by} decided in the OA and is no employee")
        if verdict.content_hash != self.content_hash:
            raise DecisionDoubtful("the OA showed another content")
        return task

    def decided(
        self, task: Task, verdict: Verdict, now: datetime, ask: Found | None = None
    ) -> Moved:
        """A checked decision counts. `ask` is who is asked next, the planned approver if None."""
        done = replace(task, status=TaskStatus.DECIDED, verdict=verdict)
        tasks = tuple(done if one.task_id == task.task_id else one for one in self.tasks)
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
        left, following = replace(self, tasks=tasks), self.after(task.step)
        if verdict.decision is Decision.APPROVE and following is not None:
            after, more = left.asked(following, ask or following.found, now)
        else:
            after, more = left.ended(_OUTCOME[verdict.decision], verdict.decided_at)
        return after, (said, *more)

    def asked(self, planned: PlannedStep, found: Found, now: datetime) -> Moved:
        """It is this person's turn."""
        turn = sum(task.step == planned.step for task in self.tasks) + 1
        task_id = TaskId(f"{self.document_id}.{self.revision}.{planned.step}.{turn}")
        task = Task(task_id, planned.step, planned.name, found, now)
        fact = ApprovalTaskAssigned(
            document_id=self.document_id,
            revision=self.revision,
            task_id=task_id,
            step=planned.step,
            step_name=planned.name,
            assignee_id=found.approver_id,
            assigned_at=now,
        )
        return replace(self, tasks=(*self.tasks, task)), (fact,)

    def ended(self, outcome: Outcome, now: datetime) -> Moved:
        """No one is asked any more."""
        fact = ApprovalDecided(
            document_id=self.document_id,
            document_kind=self.kind,
            revision=self.revision,
            outcome=outcome,
            content_hash=self.content_hash,
            decided_at=now,
        )
        return replace(self, tasks=self._called_off(), status=Status(outcome.value)), (fact,)

    def handed_to(self, found: Found, now: datetime) -> Moved:
        """The waiting task is called off, and its step asked of another person."""
        task = self.waiting
        if task is None:
            return self, ()
        planned = PlannedStep(task.step, task.name, found)
        return replace(self, tasks=self._called_off()).asked(planned, found, now)

    def taken_over(self, found: Found, now: datetime) -> Moved:
        """The OA cannot be relied on: an administrator is asked, and Tonglu decides the rest."""
        if self.mode is not Mode.DELEGATED:
            return self, ()
        return replace(self, mode=Mode.NATIVE).handed_to(found, now)

    def cancelled(self, now: datetime) -> Moved:
        """Its document was withdrawn, or handed in anew. An ended approval stays as it is."""
        if self.status is not Status.OPEN:
            return self, ()
        fact = ApprovalCancelled(
            document_id=self.document_id, revision=self.revision, cancelled_at=now
        )
        return replace(self, tasks=self._called_off(), status=Status.CANCELLED), (fact,)

    def _called_off(self) -> tuple[Task, ...]:
        return tuple(
            replace(task, status=TaskStatus.CANCELLED) if task.status is TaskStatus.OPEN else task
            for task in self.tasks
        )
