"""People and departments as an approval needs them: who is above whom, who holds which duty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from events import DepartmentId, EmployeeId
from msgspec import Struct

ADMINISTRATOR = "admin"  # the role of those who sort out what has no approver


class Person(Struct, frozen=True):
    """What the planner needs to know of someone."""

    employee_id: EmployeeId
    department_id: DepartmentId
    manager_id: EmployeeId | None
    roles: frozenset[str]
    is_active: bool


class Department(Struct, frozen=True):
    """A department with its head and the department above it."""

    department_id: DepartmentId
    parent_id: DepartmentId | None
    head_id: EmployeeId | None


class CostCentre(Struct, frozen=True):
    """What bears a cost, and who answers for it."""

    id: str
    owner_id: EmployeeId


@dataclass(frozen=True, slots=True)
class Directory:
    """The part of the company that the routes in question can touch.

    `owners`: who answers for each cost centre.
    """

    people: Mapping[EmployeeId, Person]
    departments: Mapping[DepartmentId, Department]
    owners: Mapping[str, EmployeeId] = field(default_factory=dict)
    # A batch asks for the same duties and lines again and again; looked up once each.
    _holders: dict[str, tuple[EmployeeId, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _managers: dict[EmployeeId, tuple[EmployeeId, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def is_here(self, id_: EmployeeId) -> bool:
        return id_ in self.people and self.people[id_].is_active

    def holders(self, role: str) -> tuple[EmployeeId, ...]:
        """Everyone here who holds this duty, in the order of their ids."""
        if role not in self._holders:
            self._holders[role] = tuple(
                sorted(
                    person.employee_id
                    for person in self.people.values()
                    if role in person.roles and person.is_active
                )
            )
        return self._holders[role]

    def managers(self, id_: EmployeeId) -> tuple[EmployeeId, ...]:
        """Up the line, here or gone; ends at the top, at someone unknown, or where it is a circle.

        A circle ends at the first person who would come twice, who is not named again.
        """
        if id_ not in self._managers:
            line = {id_: None}  # in order, and quick to search
            person = self.people.get(id_)
            while person is not None and person.manager_id is not None:
                if person.manager_id in line:
                    break
                line[person.manager_id] = None
                person = self.people.get(person.manager_id)
            self._managers[id_] = tuple(line)[1:]
        return self._managers[id_]

    def is_below_oneself(self, id_: EmployeeId) -> bool:
        """Whether the line above this person leads back to this person: no one in it is above."""
        line = self.managers(id_)
        last = self.people.get(line[-1]) if line else None
        return last is not None and last.manager_id == id_

    def heads(self, first: DepartmentId) -> Iterator[EmployeeId]:
        """The heads named on the way up, here or gone."""
        for id_ in self.path(first):
            head_id = self.departments[id_].head_id
            if head_id is not None:
                yield head_id

    def path(self, first: DepartmentId) -> Iterator[DepartmentId]:
        """This department and those above it, each once, as far as they are known."""
        passed: set[DepartmentId] = set()
        id_: DepartmentId | None = first
        while id_ is not None and id_ in self.departments and id_ not in passed:
            passed.add(id_)
            yield id_
            id_ = self.departments[id_].parent_id
