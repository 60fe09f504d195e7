"""HTTP: my notices, and the claims in flight."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, Problem
from fastapi import APIRouter, Query
from pydantic import BaseModel

from notifier import store
from notifier.channels.letters import compose
from notifier.domain import Stage

notices_router = APIRouter(prefix="/api/notices", tags=["notices"])


class NoticeView(BaseModel):
    """One notice, in its recipient's language. `read_at` None: unread.

    `done_at`: when the task that it asks for ended, whoever ended it; None: it has not, or the
    notice asks for none.
    """

    notice_id: str
    document_id: str
    template: str
    language: str
    subject: str
    body: str
    sent_at: datetime
    read_at: datetime | None
    done_at: datetime | None


class NoticePage(BaseModel):
    """Newest first. `next`: pass it as `before` for the older ones; None: there are none."""

    notices: list[NoticeView]
    next: str | None


@notices_router.get("")
async def my_notices(
    me: Me,
    database: Db,
    unread: bool = False,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> NoticePage:
    async with database.transaction() as tx:
        found = await store.notices_of(tx, me.subject, unread=unread, before=before, limit=limit)
    views = [_view(it) for it in found]
    return NoticePage(notices=views, next=views[-1].notice_id if len(views) == limit else None)


@notices_router.post("/{notice_id}/read")
async def read_notice(notice_id: UUID, me: Me, database: Db) -> NoticeView:
    """Reading twice keeps the first time, so it needs no Idempotency-Key."""
    async with database.transaction() as tx:
        await store.mark_read(tx, me.subject, notice_id)
        found = await store.notice_of(tx, me.subject, notice_id)
    if found is None:
        raise Problem(NOT_FOUND)
    return _view(found)


def _view(shown: store.Shown) -> NoticeView:
    message = compose(shown.notice)
    return NoticeView(
        notice_id=message.notice_id,
        document_id=message.document_id,
        template=message.template,
        language=message.language,
        subject=message.subject,
        body=message.body,
        sent_at=shown.sent_at,
        read_at=shown.read_at,
        done_at=shown.done_at,
    )


class StageView(BaseModel):
    """Claims at one stage. Ages are in seconds, since the claim entered the stage."""

    stage: Stage
    claims: int
    oldest_since: datetime | None = None
    oldest_seconds: int | None = None
    median_seconds: int | None = None


class PipelineView(BaseModel):
    """Every stage in the order of the road. It may be seconds behind: a view, never the truth."""

    as_of: datetime
    generation: int
    stages: list[StageView]


def pipeline_router(generation: int) -> APIRouter:
    """The route over this generation of the view."""
    router = APIRouter(prefix="/api/pipeline", tags=["pipeline"])

    @router.get("", dependencies=[needs("finance", "admin", "auditor")])
    async def pipeline(database: Db) -> PipelineView:
        async with database.transaction() as tx:
            found = {it.stage: it for it in await store.pipeline_summary(tx, generation)}
        now = datetime.now(UTC)
        stages = [_stage(stage, found.get(stage), now) for stage in Stage]
        return PipelineView(as_of=now, generation=generation, stages=stages)

    return router


def _stage(stage: Stage, found: store.AtStage | None, now: datetime) -> StageView:
    if found is None:
        return StageView(stage=stage, claims=0)
    return StageView(
        stage=stage,
        claims=found.claims,
        oldest_since=found.oldest_since,
        oldest_seconds=int((now - found.oldest_since).total_seconds()),
        median_seconds=int((now - found.median_since).total_seconds()),
    )
