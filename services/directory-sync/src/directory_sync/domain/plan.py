"""What must change so that the directory says what the source says, and when that is too much."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from events import DepartmentId, EmployeeId
from events.directory import (
    DepartmentStatus,
    DepartmentUpdated,
    EmployeeUpdated,
    EmploymentStatus,
)

from directory_sync.domain.snapshot import Department, Finding, Person, Snapshot


@dataclass(frozen=True, slots=True)
class Known:
    """The directory as it stands. Those who left and departments that closed stay in it."""

    people: Mapping[EmployeeId, Person]
    departments: Mapping[DepartmentId, Department]
    left: frozenset[EmployeeId] = frozenset()
    closed: frozenset[DepartmentId] = frozenset()

    @property
    def active(self) -> int:
        return len(self.people) - len(self.left)


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference between the source and the directory, each entry with its new state."""

    added: tuple[Person, ...]
    changed: tuple[Person, ...]
    returned: tuple[Person, ...]  # had left, and is in the source again
    left: tuple[Person, ...]  # with the last known state
    departments_added: tuple[Department, ...]
    departments_changed: tuple[Department, ...]
    departments_reopened: tuple[Department, ...]
    departments_closed: tuple[Department, ...]
    active_before: int

    @property
    def ids(self) -> dict[str, list[str]]:
        """Whom each kind of change concerns."""
        people = {
            "added": self.added,
            "changed": self.changed,
            "returned": self.returned,
            "left": self.left,
        }
        departments = {
            "departments_added": self.departments_added,
            "departments_changed": self.departments_changed,
            "departments_reopened": self.departments_reopened,
            "departments_closed": self.departments_closed,
        }
        return {
            **{kind: [str(it.employee_id) for it in they] for kind, they in people.items()},
            **{kind: [str(it.department_id) for it in they] for kind, they in departments.items()},
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return {kind: len(ids) for kind, ids in self.ids.items()}

    @property
    def is_empty(self) -> bool:
        return not any(self.counts.values())

    @property
    def digest(self) -> str:
        """SHA-256 over every change: equal only when exactly the same would be done."""
        canonical = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many may leave in one run before a person must look; the lower bound decides."""

    percent: int
    people: int

    def allows(self, plan: Plan) -> bool:
        leaving = len(plan.left)
        return leaving <= self.people and leaving * 100 <= self.percent * plan.active_before


class SourceBroken(Exception):
    """The source breaks rules; nothing of it was taken."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        first = findings[0]
        self.count = len(findings)
        self.file, self.line, self.field = first.file, first.line, first.field
        self.first_zh, self.first_en = first.say("zh"), first.say("en")
        self.findings = findings


class PlanChanged(Exception):
    """The plan that was looked at is no longer what would be done."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(actual)
        self.expected, self.digest = expected, actual


class TooManyLeave(Exception):
    """More people would leave than one run may remove."""

    def __init__(self, plan: Plan, threshold: Threshold) -> None:
        super().__init__(f"{len(plan.left)} of {plan.active_before}")
        self.leaving, self.active = len(plan.left), plan.active_before
        self.percent, self.people = threshold.percent, threshold.people
        self.digest = plan.digest


class AnotherRunIsOn(Exception):
    """Another run is changing the directory at this moment."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an administrator agreed to. `digest`: the plan they saw; None: whatever is due."""

    digest: str | None = None
    force: bool = False  # counts only together with the digest

    def check(self, plan: Plan, threshold: Threshold) -> None:
        """Pass, or say why the plan may not be applied.

        Raises:
            PlanChanged: another digest is due now.
            TooManyLeave: over the threshold, and not forced by digest.
        """
        if self.digest is not None and self.digest != plan.digest:
            raise PlanChanged(self.digest, plan.digest)
        forced = self.force and self.digest is not None
        if not forced and not threshold.allows(plan):
            raise TooManyLeave(plan, threshold)


def make_plan(source: Snapshot, known: Known) -> Plan:
    """Compare by id; time and memory grow with the number of rows and no faster."""
    people = {it.employee_id: it for it in source.people}
    departments = {it.department_id: it for it in source.departments}
    were, had = known.people, known.departments
    staying = were.keys() - known.left
    open_ = had.keys() - known.closed
    return Plan(
        added=tuple(it for id_, it in people.items() if id_ not in were),
        changed=tuple(it for id_, it in people.items() if id_ in staying and were[id_] != it),
        returned=tuple(it for id_, it in people.items() if id_ in known.left),
        left=tuple(were[id_] for id_ in sorted(staying - people.keys())),
        departments_added=tuple(it for id_, it in departments.items() if id_ not in had),
        departments_changed=tuple(
            it for id_, it in departments.items() if id_ in open_ and had[id_] != it
        ),
        departments_reopened=tuple(it for id_, it in departments.items() if id_ in known.closed),
        departments_closed=tuple(had[id_] for id_ in sorted(open_ - departments.keys())),
        active_before=known.active,
    )


def facts(plan: Plan, at: datetime) -> list[DepartmentUpdated | EmployeeUpdated]:
    """One whole state per change; departments first, so that a person's is known."""
    opened = (*plan.departments_added, *plan.departments_changed, *plan.departments_reopened)
    here = (*plan.added, *plan.changed, *plan.returned)
    return [
        *(_department(d, DepartmentStatus.ACTIVE, at) for d in opened),
        *(_employee(p, EmploymentStatus.ACTIVE, at) for p in here),
        *(_employee(p, EmploymentStatus.LEFT, at) for p in plan.left),
        *(_department(d, DepartmentStatus.CLOSED, at) for d in plan.departments_closed),
    ]


def _department(it: Department, status: DepartmentStatus, at: datetime) -> DepartmentUpdated:
    return DepartmentUpdated(
        department_id=it.department_id,
        name=it.name,
        parent_id=it.parent_id,
        head_id=it.head_id,
        status=status,
        updated_at=at,
    )


def _employee(it: Person, status: EmploymentStatus, at: datetime) -> EmployeeUpdated:
    return EmployeeUpdated(
        employee_id=it.employee_id,
        name=it.name,
        email=it.email,
        department_id=it.department_id,
        manager_id=it.manager_id,
        roles=it.roles,
        language=it.language,
        status=status,
        updated_at=at,
    )
