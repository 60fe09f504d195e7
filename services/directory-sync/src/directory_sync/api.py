"""HTTP: what would change, change it, and how the directory stands."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from chassis import Tx
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import Refusal, Text
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from directory_sync import handlers, store
from directory_sync.domain.plan import (
    AnotherRunIsOn,
    Order,
    Plan,
    PlanChanged,
    SourceBroken,
    Threshold,
    TooManyLeave,
)
from directory_sync.domain.snapshot import Finding
from directory_sync.sources import Source

_SHOWN = 100  # ids of each kind in an answer; the counts are always complete
_SHOWN_PROBLEMS = 1000

REFUSALS: dict[type[Exception], Refusal] = {
    SourceBroken: Refusal(
        422,
        "directory-source-broken",
        Text(
            "数据源有 {count} 处问题，未作任何更改。第一处：{file} 第 {line} 行 {field}：{first_zh}"
            "全部问题见 POST /api/directory/plan。",
            "The source breaks {count} rules; nothing was changed. First: {file} line {line}"
            " {field}: {first_en} POST /api/directory/plan lists all.",
        ),
    ),
    PlanChanged: Refusal(
        409,
        "directory-plan-changed",
        Text(
            "数据源或通讯录在你查看之后变了，未作更改。请重新查看计划（摘要 {digest}）再应用。",
            "Source or directory changed since you looked; nothing was done."
            " Look at the plan again (digest {digest}), then apply.",
        ),
    ),
    TooManyLeave: Refusal(
        409,
        "directory-too-many-leave",
        Text(
            "计划移除 {active} 人中的 {leaving} 人，超过上限（{percent}% 或 {people} 人），"
            "未作更改。"
            "请检查导出；确属实情时，带上摘要 {digest} 和 force=true 再应用。",
            "{leaving} of {active} people would leave, over the limit of {percent} % or {people};"
            " nothing was changed. Check the export; if it is true, apply with digest {digest}"
            " and force=true.",
        ),
    ),
    AnotherRunIsOn: Refusal(
        409,
        "directory-run-in-progress",
        Text(
            "另一次同步正在进行，请稍后重试。",
            "Another run is changing the directory; try again shortly.",
        ),
    ),
}


class ProblemView(BaseModel):
    """One rule that the source breaks. `line` 0: the file as a whole."""

    file: str
    line: int
    field: str
    rule: str
    zh: str
    en: str


class PlanView(BaseModel):
    """What would be done. `digest` is None while there are problems: nothing can be applied."""

    source: str
    source_digest: str
    digest: str | None
    counts: dict[str, int]
    changes: dict[str, list[str]] = Field(description="ids by kind of change, the first 100 each")
    within_threshold: bool
    problem_count: int
    problems: list[ProblemView]


class ApplyRequest(BaseModel, extra="forbid"):
    """`digest`: the plan that was looked at; `force` lets it pass the threshold and needs it."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    force: bool = False


class Applied(BaseModel):
    """What was done."""

    run_id: int
    digest: str
    counts: dict[str, int]


class RunView(BaseModel):
    """The last attempt."""

    at: datetime | None
    by: str
    source: str
    source_digest: str
    result: str
    reason: str | None
    forced: bool
    counts: Mapping[str, int]
    problems: list[dict[str, Any]]


class Status(BaseModel):
    """How the directory stands. `in_step_since`: when it last said what its source said."""

    counts: Mapping[str, int]
    in_step_since: datetime | None
    last_run: RunView | None


status_router = APIRouter(prefix="/api/directory", tags=["directory"])


@status_router.get("/status", dependencies=[needs("admin", "auditor")])
async def status(database: Db) -> Status:
    async with database.transaction() as tx:
        last = await store.last_run(tx)
        return Status(
            counts=await store.head_count(tx),
            in_step_since=await store.in_step_since(tx),
            last_run=None if last is None else _run(last),
        )


def directory_router(source: Source, threshold: Threshold) -> APIRouter:
    """Plan and apply, over one source and its limits."""
    router = APIRouter(prefix="/api/directory", tags=["directory"])

    @router.post("/plan", dependencies=[needs("admin")])
    async def plan(database: Db) -> PlanView:
        reading = await source.read()
        if reading.snapshot is None:
            return _problems(source.name, reading.digest, reading.findings)
        async with database.transaction() as tx:
            due = await handlers.plan(tx, reading.snapshot)
        return _plan(source.name, reading.digest, due, threshold)

    @router.post("/apply", dependencies=[needs("admin")])
    async def apply(body: ApplyRequest, me: Me, once: OncePerKey, database: Db) -> Response:
        reading = await source.read()
        order = Order(body.digest, body.force)
        run = store.Run(me.subject, source.name, reading.digest)

        async def effect(tx: Tx) -> Applied:
            number, done = await handlers.apply_snapshot(tx, reading, order, threshold, run)
            return Applied(run_id=number, digest=done.digest, counts=done.counts)

        try:
            return await once(effect)
        except handlers.Refused as error:
            async with database.transaction() as tx:
                await handlers.record_refusal(tx, run, error)
            raise

    return router


def _problems(source: str, digest: str, findings: tuple[Finding, ...]) -> PlanView:
    return PlanView(
        source=source,
        source_digest=digest,
        digest=None,
        counts={},
        changes={},
        within_threshold=False,
        problem_count=len(findings),
        problems=[
            ProblemView(
                file=it.file,
                line=it.line,
                field=it.field,
                rule=it.rule,
                zh=it.say("zh"),
                en=it.say("en"),
            )
            for it in findings[:_SHOWN_PROBLEMS]
        ],
    )


def _plan(source: str, digest: str, plan: Plan, threshold: Threshold) -> PlanView:
    return PlanView(
        source=source,
        source_digest=digest,
        digest=plan.digest,
        counts=plan.counts,
        changes={kind: ids[:_SHOWN] for kind, ids in plan.ids.items()},
        within_threshold=threshold.allows(plan),
        problem_count=0,
        problems=[],
    )


def _run(run: store.Run) -> RunView:
    return RunView(
        at=run.run_at,
        by=run.run_by,
        source=run.source,
        source_digest=run.source_digest,
        result=run.result,
        reason=run.reason,
        forced=run.forced,
        counts=run.counts or {},
        problems=[dict(it) for it in run.problems],
    )
