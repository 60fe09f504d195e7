"""Who approves a step, by its rule and the directory: a person who is here, or an administrator."""

from collections.abc import Mapping
from dataclasses import dataclass

from events import DepartmentId, EmployeeId

from workflow.domain.definition import ADMIN, Approver, Rule

_MAX_RULE = 200


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
class Found:
    """The approver of a step, and why it is this person, as in `line_manager(E1001)`."""

    approver_id: EmployeeId
    rule: str
    for_administrator: bool = False


class NoAdministrator(Exception):
    """A step needs an administrator, and no one else than the submitter holds that role."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; give the role {ADMIN} to someone else than the submitter")
        self.why = why


class _NoOne(Exception):
    """A rule leads to no one; the message says why."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The part of the company that some routes can touch."""

    people: Mapping[EmployeeId, Person]
    departments: Mapping[DepartmentId, Department]

    def person(self, id_: EmployeeId | None) -> Person:
        """Someone who works here now."""
        if id_ is None:
            raise _NoOne("none is named")
        person = self.people.get(id_)
        if person is None:
            raise _NoOne(f"{id_} is not in the directory")
        if not person.is_active:
            raise _NoOne(f"{id_} does not work here now")
        return person

    def holder(self, role: str, *, but: EmployeeId) -> Person:
        """Who holds this duty, the same person each time; never `but`."""
        found = sorted(
            person.employee_id
            for person in self.people.values()
            if role in person.roles and person.is_active and person.employee_id != but
        )
        if not found:
            raise _NoOne("no one else holds it")
        return self.people[found[0]]

    def line_manager(self, person: Person) -> Person:
        """The direct manager. In a circle people would approve each other: no one is found."""
        seen, id_ = {person.employee_id}, person.manager_id
        while id_ is not None:
            if id_ in seen:
                raise _NoOne(f"the line runs in a circle at {id_}")
            seen.add(id_)
            above = self.people.get(id_)
            id_ = above.manager_id if above is not None else None
        return self.person(person.manager_id)

    def head_of(self, person: Person) -> Person:
        """The head of the department; above a head the next department's, never the person."""
        seen: set[DepartmentId] = set()
        id_: DepartmentId | None = person.department_id
        while id_ is not None:
            department = self.departments.get(id_)
            if department is None:
                raise _NoOne(f"{id_} is not in the directory")
            if department.head_id != person.employee_id:
                return self.person(department.head_id)
            if id_ in seen:
                raise _NoOne(f"the departments run in a circle at {id_}")
            seen.add(id_)
            id_ = department.parent_id
        raise _NoOne("no one stands above its head")


def find_approver(approver: Approver, submitter: Person, directory: Directory) -> Found:
    """Never the submitter, never someone who has left; in doubt an administrator.

    Raises:
        NoAdministrator: in doubt, and there is none.
    """
    of = {
        Rule.LINE_MANAGER: submitter.employee_id,
        Rule.DEPARTMENT_HEAD: submitter.department_id,
        Rule.ROLE: approver.role,
    }
    rule = f"{approver.rule.value}({of[approver.rule]})"
    try:
        match approver.rule:
            case Rule.LINE_MANAGER:
                found = directory.line_manager(submitter)
            case Rule.DEPARTMENT_HEAD:
                found = directory.head_of(submitter)
            case Rule.ROLE:
                found = directory.holder(str(approver.role), but=submitter.employee_id)
    except _NoOne as reason:
        return administrator(submitter.employee_id, directory, why=f"{rule}: {reason}")
    return Found(found.employee_id, rule[:_MAX_RULE])


def administrator(submitter_id: EmployeeId, directory: Directory, *, why: str) -> Found:
    """Someone who sorts out what has no approver.

    Raises:
        NoAdministrator: there is none.
    """
    try:
        person = directory.holder(ADMIN, but=submitter_id)
    except _NoOne as error:
        raise NoAdministrator(why) from error
    return Found(person.employee_id, f"administrator: {why}"[:_MAX_RULE], for_administrator=True)


def present(found: Found, submitter_id: EmployeeId, directory: Directory) -> Found:
    """The same approver while here; of one who has left the line manager, else an administrator.

    Raises:
        NoAdministrator: in doubt, and there is none.
    """
    try:
        directory.person(found.approver_id)
    except _NoOne as reason:
        return _stand_in(found, submitter_id, directory, why=str(reason))
    return found


def _stand_in(found: Found, submitter_id: EmployeeId, directory: Directory, *, why: str) -> Found:
    leaver = directory.people.get(found.approver_id)
    if leaver is None or found.for_administrator:
        return administrator(submitter_id, directory, why=why)
    rule = f"line_manager({leaver.employee_id})"
    try:
        manager = directory.line_manager(leaver)
    except _NoOne as reason:
        return administrator(submitter_id, directory, why=f"{why}; {rule}: {reason}")
    if manager.employee_id == submitter_id:
        return administrator(submitter_id, directory, why=f"{why}; {rule} is the submitter")
    return Found(manager.employee_id, f"{rule}: {why}"[:_MAX_RULE])
