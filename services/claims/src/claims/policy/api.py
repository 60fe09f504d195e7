"""What may be spent on what, for the hints of a form."""

from chassis.http import Db
from fastapi import APIRouter
from pydantic import BaseModel

from claims.policy import handlers
from claims.policy.domain import LimitRule

router = APIRouter(prefix="/api/policy")


class Limits(BaseModel):
    items: list[LimitRule]


@router.get("/limits")
async def limits(database: Db) -> Limits:
    """Every limit rule, with the days between which it holds."""
    async with database.transaction() as tx:
        return Limits(items=await handlers.limits(tx))
