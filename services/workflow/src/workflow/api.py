"""The inbox over HTTP: my tasks, one decision, and the road of one document."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from chassis import Tx
from chassis.auth import Me
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, Problem, Refusal, Text
from events import ContentHash, DocumentId, EmployeeId, Money, TaskId
from events.workflow import Decision, Mode
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from workflow import handlers, store
from workflow.domain.approval import (
    TONGLU,
    Approval,
    ContentChanged,
    DecideInOA,
    OpinionMissing,
    OwnDocument,
    Task,
    TaskCancelled,
    TaskDecided,
    Verdict,
)
from workflow.domain.directory import NoAdministrator
from workflow.store import Viewer

REFUSALS: dict[type[Exception], Refusal] = {
    TaskDecided: Refusal(
        409,
        "task-decided",
        Text(
            "这项待办已由 {decided_by} 于 {decided_at} 在 {via} 处理（{decision}），无需再办。",
            "Decided already: {decision} by {decided_by} at {decided_at} in {via}. Nothing to do.",
        ),
    ),
    TaskCancelled: Refusal(
        409,
        "task-cancelled",
        Text(
            "这项待办已取消：单据已撤回，或已转给他人。无需再办。",
            "Called off: the document was withdrawn, or someone else is asked now. Nothing to do.",
        ),
    ),
    ContentChanged: Refusal(
        409,
        "content-changed",
        Text(
            "单据内容已变（content_hash：所见 {shown}，现为 {current}）；请重新打开后再审批。",
            "The content has changed (content_hash: you saw {shown}, now it is {current});"
            " open it again, then decide.",
        ),
    ),
    DecideInOA: Refusal(
        409,
        "decide-in-oa",
        Text(
            "这张单据在 OA（{tenant}）中审批，请到那里处理。",
            "This document is approved in the OA: decide in {tenant}.",
        ),
    ),
    OwnDocument: Refusal(
        409,
        "own-document",
        Text(
            "不能审批自己的单据，请由他人处理。",
            "No one decides on a document of their own; someone else has to.",
        ),
    ),
    OpinionMissing: Refusal(
        422,
        "opinion-missing",
        Text("退回或驳回须填写 opinion，说明原因。", "To return or reject, say why in opinion."),
    ),
    NoAdministrator: Refusal(
        409,
        "no-administrator",
        Text(
            "下一步审批人已不在职，且无管理员可接手（{why}）；请先指定 admin 角色，再审批。",
            "The next approver is not here and no administrator can take over ({why});"
            " give someone the role admin, then decide.",
        ),
    ),
}
_SEE_ALL = ("finance", "auditor", "admin")
_BAD_CURSOR = Refusal(
    422,
    "bad-cursor",
    Text(
        "after 不是有效的翻页标记，请用上一页的 next。",
        "after is no cursor of ours: use the next of the page before.",
    ),
)
_START = (datetime.min.replace(tzinfo=UTC), "")
router = APIRouter()


class DecideRequest(BaseModel):
    """What the approver says, bound to the content that was shown."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal[Decision.APPROVE, Decision.RETURN, Decision.REJECT]
    content_hash: ContentHash
    opinion: Annotated[
        str | None, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)
    ] = None


class TaskView(BaseModel):
    """One task, as its person sees it in the inbox."""

    task_id: str
    document_id: str
    revision: int
    step: int
    step_name: str
    assignee_id: str
    rule: str = Field(description="why it is this person's turn")
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
    rule: str
    status: str
    assigned_at: datetime
    decision: str | None = None
    decided_by: str | None = None
    via: str | None = None
    opinion: str | None = None
    decided_at: datetime | None = None


class PlannedView(BaseModel):
    """One step of the route, with the rule by which its person was found."""

    step: int
    name: str
    approver_id: str
    rule: str


class ApprovalView(BaseModel):
    """The whole approval of the latest revision: the plan, and every turn so far."""

    document_id: str
    revision: int
    definition: str
    mode: str
    tenant: str | None
    status: str
    title: str
    total: Money
    details: list[str]
    submitter_id: str
    content_hash: str
    route: list[PlannedView]
    tasks: list[StepView]


class OneTask(BaseModel):
    """A task of mine, with all that is needed to decide."""

    task: StepView
    approval: ApprovalView
    decide_in: str = Field(description="tonglu, or the OA in which this task is decided")


def _viewer(me: Me) -> Viewer:
    is_admin = me.kind == "person" and me.has("admin")
    return Viewer(EmployeeId(me.subject), is_admin, sees_all=me.has(*_SEE_ALL))


Asking = Annotated[Viewer, Depends(_viewer)]


@router.get("/api/tasks")
async def my_tasks(
    viewer: Asking,
    database: Db,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=400)] = None,
) -> InboxPage:
    """My open tasks; an administrator's too, if I am one."""
    start = _START if after is None else _place(after)
    async with database.transaction() as tx:
        rows = await store.inbox(tx, viewer, start, limit)
    following = _cursor(rows[-1]) if len(rows) == limit else None
    return InboxPage(items=[_task_view(row) for row in rows], next=following)


@router.get("/api/tasks/{task_id}")
async def one_task(task_id: str, viewer: Asking, database: Db) -> OneTask:
    """One task that is or was mine, with its document."""
    async with database.transaction() as tx:
        found = await handlers.seen_task(tx, TaskId(task_id), viewer)
    if found is None:
        raise Problem(NOT_FOUND)
    approval, task = found
    return OneTask(
        task=_step_view(task),
        approval=_approval_view(approval),
        decide_in=_decide_in(approval.mode, approval.tenant),
    )


@router.post("/api/tasks/{task_id}/decide")
async def decide(task_id: str, asked: DecideRequest, viewer: Asking, once: OncePerKey) -> Response:
    """Approve, return or reject one of my tasks."""

    async def effect(tx: Tx) -> StepView:
        verdict = Verdict(
            decision=Decision(asked.decision),
            by=viewer.person,
            via=TONGLU,
            content_hash=asked.content_hash,
            decided_at=tx.now,
            opinion=asked.opinion,
        )
        task = await handlers.decide_task(tx, TaskId(task_id), verdict, viewer)
        if task is None:
            raise Problem(NOT_FOUND)
        return _step_view(task)

    return await once(effect)


@router.get("/api/approvals/{document_id}")
async def one_approval(document_id: str, viewer: Asking, database: Db) -> ApprovalView:
    """Who was asked and why, who decided what, when and where."""
    async with database.transaction() as tx:
        found = await store.latest_approval(tx, DocumentId(document_id), viewer)
    if found is None:
        raise Problem(NOT_FOUND)
    return _approval_view(found)


def _cursor(row: dict[str, Any]) -> str:
    place = f"{row['assigned_at'].isoformat()} {row['task_id']}"
    return base64.urlsafe_b64encode(place.encode()).decode()


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        moment, _, task = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return datetime.fromisoformat(moment).astimezone(UTC), task
    except (ValueError, OverflowError, binascii.Error) as error:
        raise Problem(_BAD_CURSOR) from error


def _decide_in(mode: str, tenant: str | None) -> str:
    return TONGLU if mode == Mode.NATIVE or tenant is None else tenant


def _task_view(row: dict[str, Any]) -> TaskView:
    total = Money(amount=row.pop("amount"), currency=row.pop("currency"))
    decide_in = _decide_in(row.pop("mode"), row.pop("tenant"))
    return TaskView(total=total, decide_in=decide_in, **row)


def _step_view(task: Task) -> StepView:
    view = StepView(
        task_id=task.task_id,
        step=task.step,
        name=task.name,
        assignee_id=task.found.approver_id,
        rule=task.found.rule,
        status=task.status,
        assigned_at=task.assigned_at,
    )
    if (verdict := task.verdict) is None:
        return view
    decided = {
        "decision": verdict.decision,
        "decided_by": verdict.by,
        "via": verdict.via,
        "opinion": verdict.opinion,
        "decided_at": verdict.decided_at,
    }
    return view.model_copy(update=decided)


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
        details=list(found.details),
        submitter_id=found.submitter_id,
        content_hash=found.content_hash,
        route=[
            PlannedView(
                step=one.step,
                name=one.name,
                approver_id=one.found.approver_id,
                rule=one.found.rule,
            )
            for one in found.route
        ],
        tasks=[_step_view(task) for task in found.tasks],
    )
