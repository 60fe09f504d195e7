"""A claim's road over HTTP."""

from datetime import datetime

from chassis.auth import Me
from chassis.http import Db
from events import ClaimId, EventId
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from claims.claim.api import ClaimIdInPath, all_readers
from claims.timeline import handlers

router = APIRouter(prefix="/api/claims")


class EntryOut(BaseModel):
    """One event: what, when, who, in which system, and where it lies on Kafka."""

    model_config = ConfigDict(from_attributes=True)

    event_id: EventId
    type: str
    occurred_at: datetime
    actor: str | None
    system: str
    topic: str
    partition: int
    offset: int
    zh: str
    en: str


class Timeline(BaseModel):
    claim_id: ClaimId
    items: list[EntryOut]


@router.get("/{claim_id}/timeline")
async def timeline(claim_id: ClaimIdInPath, me: Me, database: Db) -> Timeline:
    """Every event of the claim's road so far, in the order of its time."""
    async with database.transaction() as tx:
        entries = await handlers.timeline(tx, claim_id, all_readers(me))
    return Timeline(claim_id=claim_id, items=[EntryOut.model_validate(entry) for entry in entries])
