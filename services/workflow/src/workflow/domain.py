"""Who must decide, in which order and why; and what a decision does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from events import ContentHash, DepartmentId, DocumentId, EmployeeId, Event, Money, TaskId, TenantId
from events.claims import ClaimSubmitted
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Decision,
    DocumentKind,
    Mode,
    Outcome,
    RouteStep,
)
from pydantic import BaseModel, ConfigDict, Field, model_validator

TONGLU = "tonglu"  # the `via` of a decision that was made in our own inbox
ADMINISTRATOR = "administrator"
_OUTCOME = {
    Decision.APPROVE: Outcome.APPROVED,
    Decision.REJECT: Outcome.REJECTED,
    Decision.RETURN: Outcome.RETURNED,
}


class Rule(StrEnum):
    """How the approver of a step is found."""

    LINE_MANAGER = "line_manager"
    DEPARTMENT_HEAD = "department_head"
    ROLE = "role"


class Approver(BaseModel):
    """The rule of a step; `role` names the duty where the rule is `role`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    role: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _role_belongs_to_its_rule(self) -> "Approver":
        if (self.rule is Rule.ROLE) != (self.role is not None):
            raise ValueError("role: name one with rule `role`, and only then")
        return self


class Step(BaseModel):
    """One step of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    approver: Approver


class Definition(BaseModel):
    """How documents of one kind are approved; a running approval keeps its version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    version: int = Field(ge=1)
    name: str = Field(max_length=100)
    name_en: str = Field(max_length=100)
    kind: Literal[DocumentKind.CLAIM]
    mode: Literal[Mode.NATIVE, Mode.DELEGATED]
    tenant: TenantId | None = None
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _tenant_belongs_to_delegated(self) -> "Definition":
        if (self.mode is Mode.DELEGATED) != (self.tenant is not None):
            raise ValueError("tenant: name the OA with mode `delegated`, and only then")
        return self

    @property
    def label(self) -> str:
        return f"{self.id}@{self.version}"


@dataclass(frozen=True, slots=True)
class Person:
    """What the planner needs to know of someone."""

    employee_id: EmployeeId
    department_id: DepartmentId
    manager_id: EmployeeId | None
    roles: frozenset[str]
    is_active: bool


@dataclass(frozen=True, slots=True)
class Department:
    """A department with its head and the department above it."""

    department_id: DepartmentId
    parent_id: DepartmentId | None
    head_id: EmployeeId | None


@dataclass(frozen=True, slots=True)
class Directory:
    """The part of the company that one route can touch."""

    people: Mapping[EmployeeId, Person]
    departments: Mapping[DepartmentId, Department]

    def active(self, id_: EmployeeId | None) -> Person | None:
        person = self.people.get(id_) if id_ is not None else None
        return person if person is not None and person.is_active else None

    def holder(self, role: str, *, but: EmployeeId) -> Person | None:
        """Who holds this duty, the same person each time; never `but`."""
        found = sorted(
            person.employee_id
            for person in self.people.values()
            if role in person.roles and person.is_active and person.employee_id != but
        )
        return self.people[found[0]] if found else None


class NoAdministrator(Exception):
    """No one can take a step that has no approver: the directory names no administrator."""


@dataclass(frozen=True, slots=True)
class Found:
    """The approver of a step, and the rule by which this person was found."""

    approver_id: EmployeeId
    why: str
    by_administrator: bool = False


def find_approver(approver: Approver, submitter: Person, directory: Directory) -> Found:
    """Never the submitter, never someone who has left; in doubt an administrator.

    Raises:
        NoAdministrator: in doubt, and there is none.
    """
    found: Person | None = None
    match approver.rule:
        case Rule.LINE_MANAGER:
            found = _up_the_line(submitter.manager_id, submitter, directory)
            why = f"{approver.rule}({submitter.employee_id})"
        case Rule.DEPARTMENT_HEAD:
            found = _head_above(submitter.department_id, submitter, directory)
            why = f"{approver.rule}({submitter.department_id})"
        case Rule.ROLE:
            found = directory.holder(str(approver.role), but=submitter.employee_id)
            why = f"{approver.rule}({approver.role})"
    if found is not None:
        return Found(found.employee_id, why)
    return administrator(submitter.employee_id, directory, why=f"{why}: none")


def administrator(submitter_id: EmployeeId, directory: Directory, *, why: str) -> Found:
    """Someone who sorts out what has no approver.

    Raises:
        NoAdministrator: there is none.
    """
    person = directory.holder("admin", but=submitter_id)
    if person is None:
        raise NoAdministrator
    return Found(person.employee_id, f"{ADMINISTRATOR} ({why})", by_administrator=True)


def _up_the_line(
    first: EmployeeId | None, submitter: Person, directory: Directory
) -> Person | None:
    """The nearest manager who is here and is not the submitter; None at the top or in a circle."""
    seen: set[EmployeeId] = set()
    id_ = first
    while id_ is not None and id_ not in seen:
        seen.add(id_)
        person = directory.people.get(id_)
        if person is None:
            return None
        if person.is_active and id_ != submitter.employee_id:
            return person
        id_ = person.manager_id
    return None


def _head_above(first: DepartmentId, submitter: Person, directory: Directory) -> Person | None:
    seen: set[DepartmentId] = set()
    id_: DepartmentId | None = first
    while id_ is not None and id_ not in seen:
        seen.add(id_)
        department = directory.departments.get(id_)
        if department is None:
            return None
        head = directory.active(department.head_id)
        if head is not None and head.employee_id != submitter.employee_id:
            return head
        id_ = department.parent_id
    return None


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
class Task:
    """One person's turn. `native`: decided in Tonglu, though the rest may run in the OA."""

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
class Verdict:
    """A decision as it reaches us: what, by whom, where, on which content."""

    decision: Decision
    by: EmployeeId
    via: str
    content_hash: ContentHash
    decided_at: datetime
    opinion: str | None = None


class TaskNotOpen(Exception):
    """The task has been decided, or called off."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.task_id)
        self.state = task.status.value
        self.decided_by = task.decided_by or "—"
        self.via = task.via or "—"
        self.decided_at = task.decided_at.isoformat() if task.decided_at else "—"


class ContentChanged(Exception):
    """The decision was made on another content than the one in question."""

    def __init__(self, shown: str, current: str) -> None:
        super().__init__(shown)
        self.shown, self.current = shown, current


class DecideInOA(Exception):
    """The approval runs in the OA, and is decided there."""

    def __init__(self, tenant: str) -> None:
        super().__init__(tenant)
        self.tenant = tenant


class OpinionMissing(Exception):
    """A return or a rejection says why."""


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
    tasks: tuple[Task, ...]
    status: Status = Status.OPEN

    @property
    def current(self) -> Task | None:
        """The task that waits, if any."""
        return next((task for task in self.tasks if task.status is TaskStatus.OPEN), None)

    def task(self, id_: TaskId) -> Task | None:
        return next((task for task in self.tasks if task.task_id == id_), None)

    def decided(self, task: Task, verdict: Verdict) -> tuple["Approval", tuple[Event, ...]]:
        """The first valid decision on a task counts.

        Raises:
            TaskNotOpen, ContentChanged, OpinionMissing: it does not count, and why.
        """
        if task.status is not TaskStatus.OPEN or self.status is not Status.OPEN:
            raise TaskNotOpen(task)
        if verdict.content_hash != self.content_hash:
            raise ContentChanged(verdict.content_hash, self.content_hash)
        if (
            verdict.via == TONGLU
            and verdict.decision is not Decision.APPROVE
            and not verdict.opinion
        ):
            raise OpinionMissing
        done = replace(
            task,
            status=TaskStatus.DECIDED,
            decision=verdict.decision,
            decided_by=verdict.by,
            via=verdict.via,
            opinion=verdict.opinion,
            decided_at=verdict.decided_at,
        )
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
        after, more = self._with(done)._go_on(task.step, verdict)  # noqa: SLF001 -- the same class
        return after, (said, *more)

    def _go_on(self, step: int, verdict: Verdict) -> tuple["Approval", tuple[Event, ...]]:
        following = next((planned for planned in self.route if planned.step > step), None)
        if verdict.decision is Decision.APPROVE and following is not None:
            return self._ask(following.step, following.name, following.found, verdict.decided_at)
        outcome = _OUTCOME[verdict.decision]
        ended = ApprovalDecided(
            document_id=self.document_id,
            document_kind=self.kind,
            revision=self.revision,
            outcome=outcome,
            content_hash=self.content_hash,
            decided_at=verdict.decided_at,
        )
        return replace(self, status=Status(outcome.value)), (ended,)

    def handed_to(
        self, step: int, name: str, found: Found, now: datetime
    ) -> tuple["Approval", tuple[Event, ...]]:
        """The open task is called off, and the step asked of another person."""
        closed = tuple(
            replace(task, status=TaskStatus.CANCELLED) if task.status is TaskStatus.OPEN else task
            for task in self.tasks
        )
        return replace(self, tasks=closed)._ask(step, name, found, now)  # noqa: SLF001 -- the same class

    def cancelled(self, now: datetime) -> tuple["Approval", tuple[Event, ...]]:
        """Its document was withdrawn, or handed in anew. An ended approval stays as it is."""
        if self.status is not Status.OPEN:
            return self, ()
        tasks = tuple(
            replace(task, status=TaskStatus.CANCELLED) if task.status is TaskStatus.OPEN else task
            for task in self.tasks
        )
        fact = ApprovalCancelled(
            document_id=self.document_id, revision=self.revision, cancelled_at=now
        )
        return replace(self, status=Status.CANCELLED, tasks=tasks), (fact,)

    def _ask(
        self, step: int, name: str, found: Found, now: datetime
    ) -> tuple["Approval", tuple[Event, ...]]:
        turn = sum(task.step == step for task in self.tasks) + 1
        task = Task(
            task_id=TaskId(f"{self.document_id}.{self.revision}.{step}.{turn}"),
            step=step,
            name=name,
            assignee_id=found.approver_id,
            native=self.mode is Mode.NATIVE or found.by_administrator,
            assigned_at=now,
        )
        fact = ApprovalTaskAssigned(
            document_id=self.document_id,
            revision=self.revision,
            task_id=task.task_id,
            step=step,
            step_name=name,
            assignee_id=found.approver_id,
            assigned_at=now,
        )
        return replace(self, tasks=(*self.tasks, task)), (fact,)

    def _with(self, changed: Task) -> "Approval":
        tasks = tuple(changed if task.task_id == changed.task_id else task for task in self.tasks)
        return replace(self, tasks=tasks)


def plan(
    definition: Definition, submitter: Person, directory: Directory
) -> tuple[PlannedStep, ...]:
    """Every step with its person.

    Raises:
        NoAdministrator: a step has no approver, and there is no administrator to take it.
    """
    return tuple(
        PlannedStep(number, step.name, find_approver(step.approver, submitter, directory))
        for number, step in enumerate(definition.steps, start=1)
    )


def requested(
    definition: Definition, claim: ClaimSubmitted, route: tuple[PlannedStep, ...], now: datetime
) -> tuple[Approval, tuple[Event, ...]]:
    """The approval of a claim that was handed in, and the first question."""
    delegated = definition.mode is Mode.DELEGATED and not any(
        planned.found.by_administrator for planned in route
    )
    mode, tenant = (Mode.DELEGATED, definition.tenant) if delegated else (Mode.NATIVE, None)
    approval = Approval(
        document_id=DocumentId(claim.claim_id),
        revision=claim.revision,
        kind=DocumentKind.CLAIM,
        definition=definition.label,
        mode=mode,
        tenant=tenant,
        submitter_id=claim.employee_id,
        title=claim.title,
        total=claim.total,
        content_hash=claim.content_hash,
        route=route,
        tasks=(),
    )
    first = route[0]
    asked, facts = approval._ask(first.step, first.name, first.found, now)  # noqa: SLF001 -- ours
    return asked, (_request(approval, claim, now), *facts)


def _request(approval: Approval, claim: ClaimSubmitted, now: datetime) -> ApprovalRequested:
    return ApprovalRequested(
        document_id=approval.document_id,
        document_kind=approval.kind,
        revision=approval.revision,
        definition=approval.definition,
        mode=approval.mode,
        tenant=approval.tenant,
        submitter_id=approval.submitter_id,
        title=approval.title,
        total=approval.total,
        details=_details(claim),
        route=tuple(
            RouteStep(
                step=planned.step,
                name=planned.name,
                approver_id=planned.found.approver_id,
                rule=planned.found.why,
            )
            for planned in approval.route
        ),
        content_hash=approval.content_hash,
        requested_at=now,
    )


def _details(claim: ClaimSubmitted) -> tuple[str, ...]:
    """One readable row a line, what breaks a rule first: what an approver must not miss."""
    broken = {violation.line_no: violation for violation in claim.violations}

    def row(number: int) -> str:
        line = claim.lines[number]
        text = f"{line.category} {line.spent_on:%m-%d} {line.city or ''} {line.amount.amount}"
        violation = broken.get(line.line_no)
        if violation is None:
            return text[:200]
        limit = f"，标准 {violation.limit.amount}" if violation.limit else ""
        return f"{text}（超标{limit}；原因：{violation.reason or '—'}）"[:200]

    order = sorted(range(len(claim.lines)), key=lambda n: claim.lines[n].line_no not in broken)
    return tuple(row(number) for number in order)
