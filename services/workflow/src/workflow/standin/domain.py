"""Windows of time in which one person's tasks go to another, and where a chain of them ends."""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum

from events import EmployeeId
from events.workflow import DocumentKind
from msgspec import Struct


class Reason(StrEnum):
    """Why someone else decides."""

    LEAVE = "leave"
    DELEGATION = "delegation"
    OTHER = "other"


class Window(Struct, frozen=True):
    """From `begins_at`, included, to `ends_at`, excluded, `stand_in_id` is asked for `person_id`.

    `kinds`: of these documents only; None: of all, those to come too.
    """

    id: str
    person_id: EmployeeId
    stand_in_id: EmployeeId
    kinds: tuple[DocumentKind, ...] | None
    begins_at: datetime
    ends_at: datetime
    reason: Reason
    created_by: str

    def check(self, now: datetime) -> None:
        """Raise what the window alone shows to be wrong.

        Raises:
            StandInIsSelf, WindowEmpty, WindowOver: it could never take effect.
        """
        if self.stand_in_id == self.person_id:
            raise StandInIsSelf
        if self.ends_at <= self.begins_at:
            raise WindowEmpty
        if self.ends_at <= now:
            raise WindowOver(now)


class StandInIsSelf(Exception):
    """A person cannot stand in for themselves."""


class WindowEmpty(Exception):
    """It ends before it begins."""


class WindowOver(Exception):
    """It has ended already."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.now = now


class PersonNotHere(Exception):
    """One of the two is unknown, or has left."""

    def __init__(self, person_id: EmployeeId) -> None:
        super().__init__(person_id)
        self.person_id = person_id


class WindowsOverlap(Exception):
    """Another window of the same person holds at the same time for the same kind."""

    def __init__(self, other: Window) -> None:
        super().__init__(other.id)
        self.window_id = other.id
        self.stand_in_id = other.stand_in_id
        self.begins_at = other.begins_at
        self.ends_at = other.ends_at


def end_of_chain(person: EmployeeId, next_of: Mapping[EmployeeId, EmployeeId]) -> EmployeeId | None:
    """Who decides in the end, when stand-ins are away as well.

    None where nobody stands in, or where it is a circle.
    """
    passed: set[EmployeeId] = set()
    last = person
    while last in next_of and last not in passed:
        passed.add(last)
        last = next_of[last]
    return None if last in passed or last == person else last


def ends_of_chains(
    people: Collection[EmployeeId], next_of: Mapping[EmployeeId, EmployeeId]
) -> dict[EmployeeId, EmployeeId]:
    """The end of each chain that has one."""
    ends = {person: end_of_chain(person, next_of) for person in people}
    return {person: end for person, end in ends.items() if end is not None}
