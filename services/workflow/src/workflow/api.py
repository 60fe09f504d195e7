"""The inbox over HTTP: my tasks, one decision, and the road of one document."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from chassis import Tx
from chassis.auth import Me, Principal
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, Problem, Refusal, Text
from events import DocumentId, EmployeeId, Money, TaskId
from events.workflow import Decision
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from workflow import handlers, store
from workflow.domain import (
    TONGLU,
    Approval,
    ContentChanged,
    DecideInOA,
    OpinionMissing,
    Task,
    TaskNotOpen,
    Verdict,
)

REFUSALS: dict[type[Exception], Refusal] = {
    TaskNotOpen: Refusal(
        409,
        "task-not-open",
        Text(
            "这项待办已处理：{decided_by} 于 {decided_at} 在 {via}（{state}）。无需再办。",
            "This task is {state}: by {decided_by} at {decided_at} in {via}. No more to do.",
        ),
    ),
    ContentChanged: Refusal(
        409,
        "content-changed",
        Text(
            "单据内容已变（你看到的指纹 {shown}，现为 {current}）；请重新打开后再审批。",
            "The content has changed (you saw {shown}, now {current}); open it again, then decide.",
        ),
    ),
    DecideInOA: Refusal(
        409,
        "decide-in-oa",
        Text(
            "这张单据在 OA（{tenant}）里审批，请到那里处理。",
            "This document is approved in the OA ({tenant}); decide there.",
        ),
    ),
    OpinionMissing: Refusal(
        422,
        "opinion-missing",
        Text(
            "退回或驳回须填写 opinion，说明原因。",
            "A return or a rejection needs an opinion: say why.",
        ),
    ),
}
_SEE_ALL = ("finance", "auditor", "admin")
_BAD_CURSOR = Refusal(
    422, "bad-cursor", Text("after 不是有效的翻页标记。", "after is not a cursor of ours.")
)
router = APIRouter()


class DecideRequest(BaseModel):
    """What the approver says, bound to the content that was shown."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal[Decision.APPROVE, Decision.REJECT, Decision.RETURN]
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    opinion: str | None = Field(None, min_length=1, max_length=1000)


class TaskView(BaseModel):
    """One task, as its person sees it in the inbox."""

    task_id: str
    document_id: str
    revision: int
    step: int
    step_name: str
    title: str
    total: Money
    submitter_id: str
    content_hash: str
    assigned_at: datetime
    decide_in: str = Field(description="tonglu, or the OA in which this task is decided")


class InboxPage(BaseModel):
    """Tasks, oldest first, and the cursor of the next page."""

    items: list[TaskView]
    next: str | None


class StepView(BaseModel):
    """One turn of one person."""

    task_id: str
    step: int
    name: str
    assignee_id: str
    status: str
    decision: str | None
    decided_by: str | None
    via: str | None
    opinion: str | None
    assigned_at: datetime
    decided_at: datetime | None


class PlannedView(BaseModel):
    """One step of the route, with the rule by which its person was found."""

    step: int
    name: str
    approver_id: str
    rule: str


class ApprovalView(BaseModel):
    """The whole approval of the latest revision."""

    document_id: str
    revision: int
    definition: str
    mode: str
    tenant: str | None
    status: str
    title: str
    total: Money
    submitter_id: str
    content_hash: str
    route: list[PlannedView]
    tasks: list[StepView]


@router.get("/api/tasks")
async def my_tasks(
    me: Me,
    database: Db,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=400)] = None,
) -> InboxPage:
    """My open tasks."""
    async with database.transaction() as tx:
        rows = await store.inbox(tx, EmployeeId(me.subject), _cursor(after), limit)
    following = f"{rows[-1]['assigned_at'].isoformat()} {rows[-1]['task_id']}" if rows else ""
    token = base64.urlsafe_b64encode(following.encode()).decode() if len(rows) == limit else None
    return InboxPage(items=[_task_view(row) for row in rows], next=token)


@router.post("/api/tasks/{task_id}/decide")
async def decide(task_id: str, asked: DecideRequest, me: Me, once: OncePerKey) -> Response:
    """Approve, reject or return one of my tasks."""

    async def effect(tx: Tx) -> StepView:
        verdict = Verdict(
            decision=Decision(asked.decision),
            by=EmployeeId(me.subject),
            via=TONGLU,
            content_hash=asked.content_hash,
            decided_at=tx.now,
            opinion=asked.opinion,
        )
        task = await handlers.decide_task(tx, TaskId(task_id), verdict)
        if task is None:
            raise Problem(NOT_FOUND)
        return _step_view(task)

    return await once(effect)


@router.get("/api/approvals/{document_id}")
async def approval(document_id: str, me: Me, database: Db) -> ApprovalView:
    """Who was asked, who decided what, when and where."""
    async with database.transaction() as tx:
        found = await handlers.approval_seen_by(
            tx, DocumentId(document_id), EmployeeId(me.subject), sees_all=_sees_all(me)
        )
    if found is None:
        raise Problem(NOT_FOUND)
    return _approval_view(found)


def _sees_all(me: Principal) -> bool:
    return me.has(*_SEE_ALL)


def _cursor(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    try:
        moment, _, task = base64.urlsafe_b64decode(after.encode()).decode().partition(" ")
        return datetime.fromisoformat(moment), task
    except (ValueError, binascii.Error) as error:
        raise Problem(_BAD_CURSOR) from error


def _task_view(row: dict[str, Any]) -> TaskView:
    total = Money(amount=row.pop("amount"), currency=row.pop("currency"))
    decide_in = TONGLU if row.pop("native") else row["tenant"]
    return TaskView(total=total, decide_in=decide_in, **row)


def _step_view(task: Task) -> StepView:
    return StepView(
        task_id=task.task_id,
        step=task.step,
        name=task.name,
        assignee_id=task.assignee_id,
        status=task.status,
        decision=task.decision,
        decided_by=task.decided_by,
        via=task.via,
        opinion=task.opinion,
        assigned_at=task.assigned_at,
        decided_at=task.decided_at,
    )


def _approval_view(found: Approval) -> ApprovalView:
    return ApprovalView(
        document_id=found.document_id,
        revision=found.revision,
        definition=found.definition,
        mode=found.mode,
        tenant=found.tenant,
        status=found.status,
        title=found.title,
        total=found.total,
        submitter_id=found.submitter_id,
        content_hash=found.content_hash,
        route=[
            PlannedView(
                step=one.step,
                name=one.name,
                approver_id=one.found.approver_id,
                rule=one.found.why,
            )
            for one in found.route
        ],
        tasks=[_step_view(task) for task in found.tasks],
    )
