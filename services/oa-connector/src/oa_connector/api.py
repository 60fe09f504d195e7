"""The callbacks of the OAs, and the administrator's view of what is on its way."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from chassis.auth import needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, TOO_LARGE, Problem, Refusal, Text
from events import DocumentId, TenantId
from fastapi import APIRouter, Path, Query, Request, Response
from prometheus_client import Counter
from pydantic import AwareDatetime, BaseModel

from oa_connector import handlers, store
from oa_connector.domain import State, Submission, SubmissionNotStuckError
from oa_connector.vendors import CallbackMalformedError, CallbackRefusedError, InboundPort

MAX_CALLBACK_BYTES = 65_536
CALLBACKS = Counter(
    "tonglu_oa_callbacks_total",
    "Callbacks that were proven to be the OA's own, by what they were about.",
    ("tenant", "process"),
)

REFUSALS: dict[type[Exception], Refusal] = {
    CallbackRefusedError: Refusal(
        401,
        "callback-refused",
        Text(
            "回调未通过验证（{reason}）：请核对密钥、时间戳（±5 分钟）与投递号。",
            "The callback is not proven ({reason}): check the secret, the timestamp (within"
            " 5 minutes) and the delivery id.",
        ),
    ),
    CallbackMalformedError: Refusal(
        400,
        "callback-malformed",
        Text(
            "回调签名正确，但内容无法读取（{reason}）。",
            "The callback is rightly signed but cannot be read ({reason}).",
        ),
    ),
    SubmissionNotStuckError: Refusal(
        409,
        "submission-not-stuck",
        Text(
            "只有等待人工处理的送审可以重试，当前状态为 {state}。",
            "Only a submission that waits for a person can be tried again; this one is {state}.",
        ),
    ),
}

Revision = Annotated[int, Path(ge=1, le=2_147_483_647)]

router = APIRouter(prefix="/api/oa")


class SubmissionView(BaseModel):
    """One submission as an administrator sees it."""

    document_id: str
    revision: int
    tenant: str
    state: State
    attempt: int
    instance_id: str | None
    steps_seen: int
    drift: str | None
    last_error: str | None

    @classmethod
    def of(cls, submission: Submission) -> "SubmissionView":
        return cls.model_validate(submission, from_attributes=True)


class TenantView(BaseModel):
    """One OA as it was when it was last asked."""

    tenant: str
    version: str | None
    error: str | None
    checked_at: AwareDatetime


@router.get("/submissions", dependencies=[needs("admin", "auditor")])
async def list_submissions(
    database: Db,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> list[SubmissionView]:
    """Those in one state, or all that are not closed; the longest untouched first."""
    async with database.transaction() as tx:
        found = await store.submissions(tx, state, limit)
    return [SubmissionView.of(one) for one in found]


@router.post(
    "/submissions/{document_id}/{revision}/retry", dependencies=[needs("admin")], status_code=202
)
async def retry_submission(database: Db, document_id: str, revision: Revision) -> SubmissionView:
    """Search the OA again, and create only if nothing is found."""
    async with database.transaction() as tx:
        retried = await handlers.retry_submission(tx, DocumentId(document_id), revision)
    if retried is None:
        raise Problem(NOT_FOUND)
    return SubmissionView.of(retried)


@router.get("/tenants", dependencies=[needs("admin", "auditor")])
async def list_tenants(database: Db) -> list[TenantView]:
    """The OAs with their versions, or with what they answered instead."""
    async with database.transaction() as tx:
        found = await store.tenants(tx)
    return [TenantView.model_validate(one, from_attributes=True) for one in found]


def callbacks(inbound: Mapping[TenantId, InboundPort]) -> APIRouter:
    """The public face to the OAs: each call proves itself by its signature."""
    public = APIRouter()

    @public.post("/callbacks/{tenant}", status_code=204)
    async def take_callback(request: Request, database: Db, tenant: str) -> Response:
        """Keep it, then acknowledge it; what it says is looked up in the OA later."""
        port = inbound.get(TenantId(tenant))
        body = await _capped(request)
        if port is None:
            raise CallbackRefusedError("tenant")
        hints = port.open(request.headers, body, datetime.now(UTC))
        async with database.transaction() as tx:
            known = [
                await handlers.take_callback(tx, TenantId(tenant), hint, body) for hint in hints
            ]
        for is_ours in known:
            CALLBACKS.labels(tenant, "ours" if is_ours else "unknown").inc()
        return Response(status_code=204)

    return public


async def _capped(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_CALLBACK_BYTES:
            raise Problem(TOO_LARGE, limit=MAX_CALLBACK_BYTES)
    return body
