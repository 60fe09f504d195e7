"""Parked keys over HTTP, for administrators: see, redrive in order, or give one event up."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog
from events import EventId
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from chassis import parked
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, Problem

log = structlog.get_logger()
router = APIRouter(prefix="/admin/parked", tags=["parked"], dependencies=[needs("admin")])


class KeyRequest(BaseModel, extra="forbid"):
    """Which key of which topic."""

    topic: str = Field(max_length=200)
    key: str = Field(max_length=200)


class DiscardRequest(KeyRequest):
    """Which event of it."""

    event_id: UUID


@router.get("")
async def keys(database: Db) -> dict[str, list[dict[str, Any]]]:
    """All keys that wait, the longest first."""
    async with database.transaction() as tx:
        return {"items": [asdict(one) for one in await parked.parked_keys(tx)]}


@router.get("/events")
async def events(database: Db, topic: str, key: str) -> dict[str, list[dict[str, Any]]]:
    """The events of one key, in the order in which a redrive takes them."""
    async with database.transaction() as tx:
        found = await parked.parked_events(tx, topic, key)
    if not found:
        raise Problem(NOT_FOUND)
    return {"items": [asdict(one) for one in found]}


@router.post("/redrive")
async def redrive(request: Request, database: Db, me: Me, asked: KeyRequest) -> dict[str, Any]:
    """Apply a key's events in order; it runs here, where the handlers are."""
    table = request.app.state.subscriptions
    done = await parked.redrive(database, table, asked.topic, asked.key)
    log.warning("redriven", by=me.subject, **asked.model_dump(), **asdict(done))
    return asdict(done)


@router.post("/discard")
async def discard(database: Db, me: Me, asked: DiscardRequest) -> dict[str, bool]:
    """Give up one event; those behind it wait for a redrive."""
    async with database.transaction() as tx:
        done = await parked.discard(tx, asked.topic, asked.key, EventId(asked.event_id))
    if not done:
        raise Problem(NOT_FOUND)
    log.warning("discarded", by=me.subject, **asked.model_dump(mode="json"))
    return {"discarded": True}
