"""People and departments as an approval needs them: who is above whom, who holds which duty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from events import DepartmentId, EmployeeId

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
    """The part of the company that the routes in question can touch."""

    people: Mapping[EmployeeId, Person]
    departments: Mapping[DepartmentId, Department]

    def is_here(self, id_: EmployeeId) -> bool:
        return id_ in self.people and self.people[id_].is_active

    def holders(self, role: str) -> tuple[EmployeeId, ...]:
        """Everyone here who holds this duty, in the order of their ids."""
        return tuple(
            sorted(
                person.employee_id
                for person in self.people.values()
                if role in person.roles and person.is_active
            )
        )

    def managers(self, id_: EmployeeId) -> Iterator[EmployeeId]:
        """Up the line, here or gone; ends at the top, at someone unknown, or where it is a circle.

        A circle ends at the first person who would come twice, who is not named again.
        """
        passed = {id_}
        person = self.people.get(id_)
        while person is not None and person.manager_id is not None:
            if person.manager_id in passed:
                return
            passed.add(person.manager_id)
            yield person.manager_id
            person = self.people.get(person.manager_id)

    def heads(self, first: DepartmentId) -> Iterator[EmployeeId]:
        """The heads named on the way up, here or gone."""
        passed: set[DepartmentId] = set()
        id_: DepartmentId | None = first
        while id_ is not None and id_ in self.departments and id_ not in passed:
            passed.add(id_)
            department = self.departments[id_]
            if department.head_id is not None:
                yield department.head_id
            id_ = department.parent_id
