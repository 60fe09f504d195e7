"""Name a stand-in, call it off, and answer who stands in for whom."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from chassis import Tx
from events import EmployeeId
from events.workflow import DocumentKind

from workflow.directory.handlers import directory_around
from workflow.standin import store
from workflow.standin.domain import PersonNotHere, Window, WindowsOverlap, ends_of_chains

_AGAIN = timedelta(minutes=5)


async def stand_ins(
    tx: Tx, people: Collection[EmployeeId], kind: DocumentKind, at: datetime
) -> Mapping[EmployeeId, EmployeeId]:
    """Who decides for those of them who are away; whoever is not named keeps the task.

    A stand-in who is away passes it on. A circle, or someone who has left, stands in for nobody.
    """
    ends = ends_of_chains(people, await store.next_of(tx, people, kind, at))
    if not ends:
        return ends
    directory = await directory_around(tx, set(ends.values()))
    return {person: end for person, end in ends.items() if directory.is_here(end)}


async def add_window(tx: Tx, window: Window) -> None:
    """Name a stand-in for a window of time.

    Raises:
        StandInIsSelf, WindowEmpty, WindowOver, PersonNotHere, WindowsOverlap: it is not taken.
    """
    window.check(await store.lock_person(tx, window.person_id))
    directory = await directory_around(tx, {window.person_id, window.stand_in_id})
    for person in (window.person_id, window.stand_in_id):
        if not directory.is_here(person):
            raise PersonNotHere(person)
    other = await store.overlapping(tx, window)
    if other is not None:
        raise WindowsOverlap(other)
    await store.add_window(tx, window)


async def cancel_window(tx: Tx, id_: str, person: EmployeeId | None, by: str) -> bool:
    """Call a window off; tasks that were moved stay where they are. False: there is none.

    `person`: only if it is theirs; None: anyone's.
    """
    return await store.cancel_window(tx, id_, person, by)


async def windows_of(tx: Tx, person: EmployeeId) -> list[Window]:
    """The windows not over yet in which this person is away or stands in."""
    return await store.windows_of(tx, person)


async def take_window(tx: Tx) -> Window | None:
    """A window in force, whose person's open tasks are to move: as it begins, and now and then.

    A task may reach someone who is away all the same: asked in a transaction that could not see
    the window, or kept because the stand-ins were a circle until another window ended.
    """
    return await store.take_window(tx, _AGAIN)


async def put_off_window(tx: Tx, window: Window, by: timedelta) -> None:
    """Its tasks could not move now: try again later, and let other windows go first."""
    await store.put_off_window(tx, window.id, by)
