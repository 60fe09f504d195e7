"""Keep our copy of people and departments; answer with the part of it that is in question."""

from collections.abc import Collection, Sequence

from chassis import Received, Tx
from events import EmployeeId
from events.directory import DepartmentUpdated, EmployeeUpdated

from workflow.directory import store
from workflow.directory.domain import ADMINISTRATOR, CostCentre, Directory


class OwnerNotHere(Exception):
    """A cost centre's owner is unknown, or has left."""

    def __init__(self, cost_centre: str, owner: str) -> None:
        super().__init__(cost_centre, owner)
        self.cost_centre = cost_centre
        self.owner = owner


async def on_employees(tx: Tx, batch: Sequence[Received[EmployeeUpdated]]) -> None:
    """Keep whole states; those who left stay known."""
    await store.save_people(tx, [received.event for received in batch])


async def on_departments(tx: Tx, batch: Sequence[Received[DepartmentUpdated]]) -> None:
    """Keep whole states."""
    await store.save_departments(tx, [received.event for received in batch])


async def directory_around(
    tx: Tx,
    ids: Collection[EmployeeId],
    roles: Collection[str] = (),
    cost_centres: Collection[str] = (),
) -> Directory:
    """The part of the company around these people, in one query however many they are.

    It holds everyone up their line, the departments above them with their heads, all who hold
    these roles or are administrators, and who answers for these cost centres.
    """
    return await store.directory_around(tx, ids, {*roles, ADMINISTRATOR}, cost_centres)


async def cost_centres(tx: Tx) -> list[CostCentre]:
    return await store.cost_centres(tx)


async def replace_cost_centres(tx: Tx, all_of_them: Sequence[CostCentre], by: EmployeeId) -> None:
    """These and no others are the company's cost centres.

    Raises:
        OwnerNotHere: one would belong to nobody.
    """
    directory = await directory_around(tx, {one.owner_id for one in all_of_them})
    for one in all_of_them:
        if not directory.is_here(one.owner_id):
            raise OwnerNotHere(one.id, one.owner_id)
    await store.save_cost_centres(tx, all_of_them, by)
