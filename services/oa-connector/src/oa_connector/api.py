"""The callbacks of the OAs, and the administrator's view of what is on its way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from chassis import Database
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, TOO_LARGE, Problem, Refusal, Text
from events import DocumentId, InstanceId, TaskId, TenantId
from events.oa import Drift
from fastapi import APIRouter, Query, Request, Response
from prometheus_client import Counter
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from oa_connector import handlers, store
from oa_connector.domain import (
    Cycle,
    Repair,
    RepairNotPossibleError,
    State,
    Status,
    SubmissionNotStuckError,
)
from oa_connector.store import Case
from oa_connector.vendors import (
    CallbackMalformedError,
    CallbackRefusedError,
    InboundPort,
    OAError,
)

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
    RepairNotPossibleError: Refusal(
        409,
        "repair-not-possible",
        Text(
            "这样处理 {drift} 无济于事，案件仍待处理；可选：{possible}。",
            "That would mend nothing of a {drift}, and the case still waits; possible: {possible}.",
        ),
    ),
}

router = APIRouter(prefix="/api/oa")
_LOOK = [needs("admin", "auditor")]
_ADMIN = [needs("admin")]
Limit = Annotated[int, Query(ge=1, le=200)]


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class SubmissionView(View):
    """One submission as an administrator sees it."""

    business_key: str
    document_id: DocumentId
    revision: int
    task_id: TaskId | None
    tenant: TenantId
    template: str
    state: State
    status: Status | None
    attempt: int
    instance_id: str | None
    steps_seen: int
    drift: Drift | None
    last_error: str | None


class Submissions(BaseModel):
    """`next` is what to send as `after`, null on the last page."""

    items: list[SubmissionView]
    next: str | None


class TemplateView(View):
    """A form of an OA; `paused`: nothing new is sent by it until a person resumes it."""

    name: str
    fingerprint: str | None
    paused: bool
    paused_at: AwareDatetime | None
    why: str | None


class TenantView(View):
    """One OA as it was when it was last asked, with what it can do.

    `unattended`: the loops that work for it stand still in every process of ours.
    """

    tenant: TenantId
    version: str | None
    error: str | None
    checked_at: AwareDatetime
    profile: str | None
    degraded: bool = Field(validation_alias="is_degraded")
    detail: str
    breaker: str
    clock_offset_seconds: float
    reconciled_at: AwareDatetime | None
    unattended: bool = Field(validation_alias="is_unattended")
    capabilities: dict[str, object] | None
    templates: list[TemplateView]


class Tenants(BaseModel):
    items: list[TenantView]


class DriftView(BaseModel):
    """A difference with both sides as they were when it was found."""

    id: UUID
    tenant: TenantId
    business_key: str
    document_id: DocumentId
    revision: int
    task_id: TaskId | None
    instance_id: InstanceId | None
    drift: Drift
    detail: str
    ours: dict[str, Any]
    theirs: dict[str, Any]
    detected_at: AwareDatetime
    repair: Repair | None
    note: str | None
    resolved_by: str | None
    resolved_at: AwareDatetime | None

    @classmethod
    def of(cls, case: Case) -> "DriftView":
        plain = {name: getattr(case, name) for name in Case.__slots__ if name != "difference"}
        return cls(**asdict(case.difference), **plain)


class Drifts(BaseModel):
    """`next` is what to send as `after`, null on the last page."""

    items: list[DriftView]
    next: UUID | None


class Resolution(BaseModel):
    """What an administrator has judged, and why."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    repair: Repair
    note: str = Field(min_length=1, max_length=500)


class CycleView(BaseModel):
    """What a comparison came to; `error`: the OA fell silent, the rest stands."""

    tenant: TenantId
    listed: int = 0
    read: int = 0
    ghosts: int = 0
    error: str | None = None


class Cycles(BaseModel):
    items: list[CycleView]


def _place(text: str) -> store.Place:
    """Where a page of submissions ends, as its `next` says it."""
    touched, _, key = text.partition(" ")
    at = datetime.fromisoformat(touched)
    if at.tzinfo is None or not key:
        raise ValueError("it is no `next` of another page")
    return at, key


def _is_place(text: str) -> str:
    _place(text)
    return text


After = Annotated[str, Query(max_length=160), AfterValidator(_is_place)]


@router.get("/submissions", dependencies=_LOOK)
async def list_submissions(
    database: Db,
    state: State | None = None,
    tenant: str | None = None,
    limit: Limit = 100,
    after: After | None = None,
) -> Submissions:
    """Those in one state, or all that are not closed; the longest untouched first."""
    whose = TenantId(tenant) if tenant is not None else None
    place = _place(after) if after is not None else None
    async with database.transaction() as tx:
        found = await store.submissions(tx, (whose, state), limit, place)
    items = [SubmissionView.model_validate(one) for one, _ in found]
    if len(found) < limit:
        return Submissions(items=items, next=None)
    touched, key = found[-1][1]
    return Submissions(items=items, next=f"{touched.isoformat()} {key}")


@router.post("/submissions/{business_key}/retry", dependencies=_ADMIN, status_code=202)
async def retry_submission(database: Db, business_key: str) -> SubmissionView:
    """Search the OA again, and create only if nothing is found."""
    async with database.transaction() as tx:
        retried = await handlers.retry_submission(tx, business_key)
    if retried is None:
        raise Problem(NOT_FOUND)
    return SubmissionView.model_validate(retried)


@router.get("/tenants", dependencies=_LOOK)
async def list_tenants(database: Db) -> Tenants:
    """The OAs with their versions, or with what they answered instead, and what they can do."""
    async with database.transaction() as tx:
        found = await store.tenants(tx)
    return Tenants(items=[TenantView.model_validate(one) for one in found])


@router.post("/tenants/{tenant}/templates/{name}/resume", dependencies=_ADMIN, status_code=204)
async def resume_template(database: Db, tenant: str, name: str) -> None:
    """A person has compared the form with what we fill in: send by it again."""
    async with database.transaction() as tx:
        if not await handlers.resume_template(tx, TenantId(tenant), name):
            raise Problem(NOT_FOUND)


@router.get("/drift", dependencies=_LOOK)
async def list_drift(
    database: Db, resolved: bool = False, limit: Limit = 100, after: UUID | None = None
) -> Drifts:
    """What waits for a person, or what was resolved; the newest first."""
    async with database.transaction() as tx:
        found = await store.cases(tx, is_open=not resolved, limit=limit, after=after)
    return Drifts(
        items=[DriftView.of(one) for one in found],
        next=found[-1].id if len(found) == limit else None,
    )


@router.post("/drift/{drift_id}/resolve", dependencies=_ADMIN)
async def resolve_drift(database: Db, drift_id: UUID, judged: Resolution, me: Me) -> DriftView:
    """Settle one difference as a person has judged it."""
    async with database.transaction() as tx:
        case = await handlers.resolve_drift(tx, drift_id, judged.repair, judged.note, me.subject)
    if case is None:
        raise Problem(NOT_FOUND)
    return DriftView.of(case)


Reconcile = Callable[[Database], Awaitable[Cycle]]
Probe = Callable[[Database], Awaitable[bool]]


def console(cycles: Mapping[TenantId, Reconcile], probes: Mapping[TenantId, Probe]) -> APIRouter:
    """The calls that go out to the OAs themselves."""
    outward = APIRouter(prefix="/api/oa")

    @outward.post("/probe", dependencies=_ADMIN)
    async def probe_all(database: Db) -> Tenants:
        """Ask every OA now, all at once, and show each as it has answered."""
        answered = await asyncio.gather(*[probe(database) for probe in probes.values()])
        async with database.transaction() as tx:
            found = {one.tenant: TenantView.model_validate(one) for one in await store.tenants(tx)}
        for tenant, is_kept in zip(probes, answered, strict=True):
            if tenant in found and not is_kept and found[tenant].error is None:
                found[tenant].error = "what it answered could not be kept"
        return Tenants(items=[found[tenant] for tenant in probes if tenant in found])

    @outward.post("/reconcile", dependencies=_ADMIN)
    async def reconcile(database: Db) -> Cycles:
        """Compare every OA with Tonglu now and repair what is safe."""
        return Cycles(items=[await _cycle(database, *one) for one in cycles.items()])

    return outward


async def _cycle(database: Database, tenant: TenantId, reconcile: Reconcile) -> CycleView:
    try:
        found = await reconcile(database)
    except OAError as silence:
        return CycleView(tenant=tenant, error=silence.told)
    return CycleView(tenant=tenant, **asdict(found))


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
