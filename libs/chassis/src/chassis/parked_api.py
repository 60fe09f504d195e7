"""Parked keys over HTTP, for administrators: see, redrive in order, or give one event up."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import structlog
from events import EventId
from fastapi import APIRouter
from pydantic import BaseModel, Field

from chassis import parked
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, Problem
from chassis.subscriptions import Subscription

log = structlog.get_logger()


class ParkedKeyRequest(BaseModel, extra="forbid"):
    """Which key of which topic."""

    topic: str = Field(max_length=200)
    key: str = Field(max_length=200)


class DiscardRequest(ParkedKeyRequest):
    """Which event of it."""

    event_id: UUID


def parked_router(subscriptions: Sequence[Subscription]) -> APIRouter:
    """The routes under /admin/parked; a redrive runs here, where the handlers are."""
    router = APIRouter(prefix="/admin/parked", tags=["parked"], dependencies=[needs("admin")])

    @router.get("")
    async def keys(database: Db) -> dict[str, list[dict[str, Any]]]:
        async with database.transaction() as tx:
            return {"items": [asdict(one) for one in await parked.parked_keys(tx)]}

    @router.get("/events")
    async def events(database: Db, topic: str, key: str) -> dict[str, list[dict[str, Any]]]:
        async with database.transaction() as tx:
            found = await parked.parked_events(tx, topic, key)
        if not found:
            raise Problem(NOT_FOUND)
        return {"items": [asdict(one) for one in found]}

    @router.post("/redrive")
    async def redrive(database: Db, me: Me, asked: ParkedKeyRequest) -> dict[str, Any]:
        done = await parked.redrive(database, subscriptions, asked.topic, asked.key)
        log.warning("redriven", by=me.subject, **asked.model_dump(), **asdict(done))
        return asdict(done)

    @router.post("/discard")
    async def discard(database: Db, me: Me, asked: DiscardRequest) -> dict[str, bool]:
        async with database.transaction() as tx:
            done = await parked.discard(tx, asked.topic, asked.key, EventId(asked.event_id))
        if not done:
            raise Problem(NOT_FOUND)
        log.warning("discarded", by=me.subject, **asked.model_dump(mode="json"))
        return {"discarded": True}

    return router
