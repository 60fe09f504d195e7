"""Cost centres over HTTP: who answers for what."""

from typing import Annotated

from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import FieldRefusal, Refusal, Text
from events import EmployeeId
from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workflow.directory import handlers
from workflow.directory.domain import CostCentre
from workflow.directory.handlers import OwnerNotHere

REFUSALS: dict[type[Exception], Refusal] = {
    OwnerNotHere: Refusal(
        422,
        "owner-not-here",
        Text(
            "成本中心 {cost_centre} 的负责人 {owner} 不在职或不存在，请换一位在职员工。",
            "{owner}, the owner of cost centre {cost_centre}, is unknown or has left:"
            " name someone who works here.",
        ),
    ),
}
_TWICE = Text(
    "成本中心 {id} 出现了两次，请只保留一行。", "Cost centre {id} is named twice: keep one."
)
router = APIRouter(prefix="/api/cost-centres", dependencies=[needs("admin")])


class CostCentreItem(BaseModel):
    """A cost centre and the employee who answers for it."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9A-Za-z._-]{1,64}$")
    owner_id: EmployeeId = Field(min_length=1, max_length=64)


def _each_once(items: list[CostCentreItem]) -> list[CostCentreItem]:
    passed: set[str] = set()
    for item in items:
        if item.id in passed:
            raise FieldRefusal(_TWICE, id=item.id)
        passed.add(item.id)
    return items


class CostCentres(BaseModel):
    """All cost centres of the company; to put them replaces them all."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[CostCentreItem], AfterValidator(_each_once)] = Field(max_length=10_000)


@router.get("")
async def cost_centres(database: Db) -> CostCentres:
    """Every cost centre with its owner."""
    async with database.transaction() as tx:
        found = await handlers.cost_centres(tx)
    return CostCentres(items=[CostCentreItem.model_validate(one) for one in found])


@router.put("")
async def replace_cost_centres(asked: CostCentres, me: Me, database: Db) -> CostCentres:
    """These and no others from now on. The same again changes nothing."""
    async with database.transaction() as tx:
        await handlers.replace_cost_centres(
            tx,
            [CostCentre(item.id, item.owner_id) for item in asked.items],
            EmployeeId(me.subject),
        )
    return asked
