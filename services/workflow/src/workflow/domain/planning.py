"""Who must decide, in which order, and why it is this person."""

from collections.abc import Mapping
from dataclasses import dataclass

from events import DepartmentId, EmployeeId

from workflow.domain.definition import Approver, Definition, Rule

ADMINISTRATOR = "admin"  # the role of those who sort out what has no approver


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

    def is_here(self, id_: EmployeeId) -> bool:
        return id_ in self.people and self.people[id_].is_active

    def holder(self, role: str, *, but: EmployeeId) -> EmployeeId | None:
        """Who holds this duty, the same person each time; never `but`."""
        holders = (
            person.employee_id
            for person in self.people.values()
            if role in person.roles and person.is_active and person.employee_id != but
        )
        return min(holders, default=None)

    def head_above(self, first: DepartmentId, *, but: EmployeeId) -> EmployeeId | None:
        """The first head named on the way up, whether here or gone; None at the top."""
        passed: set[DepartmentId] = set()
        id_: DepartmentId | None = first
        while id_ is not None and id_ in self.departments and id_ not in passed:
            passed.add(id_)
            department = self.departments[id_]
            if department.head_id is not None and department.head_id != but:
                return department.head_id
            id_ = department.parent_id
        return None


class NoAdministrator(Exception):
    """No one can take a step that has no approver: the directory names no administrator."""


@dataclass(frozen=True, slots=True)
class Found:
    """The approver of a step, and the rule by which this person was found."""

    approver_id: EmployeeId
    rule: str
    by_administrator: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a route with the person who was found for it."""

    step: int
    name: str
    found: Found


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


def find_approver(approver: Approver, submitter: Person, directory: Directory) -> Found:
    """Never the submitter, never someone unknown or gone: an administrator instead.

    Raises:
        NoAdministrator: it takes one, and there is none.
    """
    id_ = submitter.employee_id
    match approver.rule:
        case Rule.LINE_MANAGER:
            rule, found = f"{approver.rule}({id_})", submitter.manager_id
        case Rule.DEPARTMENT_HEAD:
            rule = f"{approver.rule}({submitter.department_id})"
            found = directory.head_above(submitter.department_id, but=id_)
        case Rule.ROLE:
            rule = f"{approver.rule}({approver.role})"
            found = directory.holder(str(approver.role), but=id_)
    return _trusted(found, rule, id_, directory)


def find_successor(leaver: Person, submitter_id: EmployeeId, directory: Directory) -> Found:
    """Who takes over what a leaver was asked: the leaver's manager, on the same conditions.

    Raises:
        NoAdministrator: it takes one, and there is none.
    """
    rule = f"{Rule.LINE_MANAGER}({leaver.employee_id})"
    return _trusted(leaver.manager_id, rule, submitter_id, directory)


def administrator(submitter_id: EmployeeId, directory: Directory, *, why: str) -> Found:
    """Someone who sorts out what has no approver.

    Raises:
        NoAdministrator: there is none.
    """
    id_ = directory.holder(ADMINISTRATOR, but=submitter_id)
    if id_ is None:
        raise NoAdministrator
    return Found(id_, f"administrator ({why})", by_administrator=True)


def _trusted(
    id_: EmployeeId | None, rule: str, submitter_id: EmployeeId, directory: Directory
) -> Found:
    if id_ is None:
        return administrator(submitter_id, directory, why=f"{rule}: no one")
    if id_ == submitter_id:
        return administrator(submitter_id, directory, why=f"{rule}: the submitter")
    if not directory.is_here(id_):
        return administrator(submitter_id, directory, why=f"{rule}: {id_} is not here")
    return Found(id_, rule)
