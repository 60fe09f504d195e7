"""The inbox over HTTP: my tasks, one decision, and the road of one document."""

import re
from datetime import datetime
from typing import Annotated, Literal

from chassis import Tx
from chassis.auth import Me
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, FieldRefusal, Problem, Refusal, Text
from events import DocumentId, EmployeeId, Money, TaskId
from events.workflow import Decision
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AfterValidator, AliasPath, BaseModel, ConfigDict, Field

from workflow import handlers, store
from workflow.domain import (
    TONGLU,
    ContentChanged,
    DecideInOA,
    OpinionMissing,
    TaskCancelled,
    TaskDecided,
    Verdict,
)

REFUSALS: dict[type[Exception], Refusal] = {
    TaskDecided: Refusal(
        409,
        "task-decided",
        Text(
            "这项待办已由 {decided_by} 于 {decided_at} 在 {via} 处理（{decision}），无需再办。",
            "{decided_by} decided this at {decided_at} in {via} ({decision}). No more to do.",
        ),
    ),
    TaskCancelled: Refusal(
        409,
        "task-cancelled",
        Text(
            "这项待办已取消：单据已撤回，或已转给他人，无需再办。",
            "This task was called off: the document was withdrawn, or another person took over.",
        ),
    ),
    ContentChanged: Refusal(
        409,
        "content-changed",
        Text(
            "这不是提交审批的那一份内容；请重新打开单据后再审批。",
            "This is not the content that was handed in; open the document again, then decide.",
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
_ID = r"^[0-9A-Za-z.-]{1,200}$"
_NOT_PRINTABLE = Text(
    "含有不可打印的字符，请删除。", "Holds a character no one can read: remove it."
)
router = APIRouter()


async def _task_id(task_id: str) -> TaskId:
    return TaskId(_id(task_id))


async def _document_id(document_id: str) -> DocumentId:
    return DocumentId(_id(document_id))


def _id(id_: str) -> str:
    if re.fullmatch(_ID, id_) is None:
        raise Problem(NOT_FOUND)
    return id_


def _printable(text: str) -> str:
    if not all(char.isprintable() or char in "\n\t" for char in text):
        raise FieldRefusal(_NOT_PRINTABLE)
    return text


class DecideRequest(BaseModel):
    """What the approver says, bound to the content that was shown."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    decision: Literal[Decision.APPROVE, Decision.REJECT, Decision.RETURN]
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    opinion: Annotated[str, AfterValidator(_printable)] | None = Field(
        None, min_length=1, max_length=1000, description="needed to return or reject"
    )


class InboxTask(BaseModel):
    """One task, as its person sees it in the inbox."""

    model_config = ConfigDict(from_attributes=True)

    task_id: TaskId
    document_id: DocumentId
    revision: int
    step: int
    step_name: str
    rule: str = Field(description="why it is this person's turn")
    title: str
    total: Money
    submitter_id: EmployeeId
    content_hash: str
    assigned_at: datetime
    decide_in: str = Field(description="tonglu, or the OA in which this task is decided")


class InboxPage(BaseModel):
    """Oldest first; `next` is what to send as `after`, null on the last page."""

    items: list[InboxTask]
    next: TaskId | None


class TaskView(BaseModel):
    """One turn of one person."""

    model_config = ConfigDict(from_attributes=True)

    task_id: TaskId
    step: int
    name: str
    assignee_id: EmployeeId
    status: str
    decision: str | None
    decided_by: EmployeeId | None
    via: str | None
    opinion: str | None
    assigned_at: datetime
    decided_at: datetime | None


class PlannedView(BaseModel):
    """One step of the route, with the rule by which its person was found."""

    model_config = ConfigDict(from_attributes=True)

    step: int
    name: str
    approver_id: EmployeeId = Field(validation_alias=AliasPath("found", "approver_id"))
    rule: str = Field(validation_alias=AliasPath("found", "rule"))


class ApprovalView(BaseModel):
    """The whole approval of the last revision."""

    model_config = ConfigDict(from_attributes=True)

    document_id: DocumentId
    revision: int
    definition: str
    mode: str
    tenant: str | None
    status: str
    title: str
    total: Money
    submitter_id: EmployeeId
    content_hash: str
    route: list[PlannedView]
    tasks: list[TaskView]


@router.get("/api/tasks")
async def my_tasks(
    me: Me,
    database: Db,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(pattern=_ID)] = None,
) -> InboxPage:
    """My open tasks."""
    last = TaskId(after) if after is not None else None
    async with database.transaction() as tx:
        found = await store.inbox(tx, EmployeeId(me.subject), last, limit + 1)
    items = [InboxTask.model_validate(waiting) for waiting in found[:limit]]
    return InboxPage(items=items, next=items[-1].task_id if len(found) > limit else None)


@router.post("/api/tasks/{task_id}/decide")
async def decide(
    task_id: Annotated[TaskId, Depends(_task_id)], asked: DecideRequest, me: Me, once: OncePerKey
) -> Response:
    """Approve, reject or return one of my tasks."""

    async def effect(tx: Tx) -> TaskView:
        verdict = Verdict(
            decision=asked.decision,
            by=EmployeeId(me.subject),
            via=TONGLU,
            content_hash=asked.content_hash,
            decided_at=tx.now,
            opinion=asked.opinion,
        )
        task = await handlers.decide_task(tx, task_id, verdict)
        if task is None:
            raise Problem(NOT_FOUND)
        return TaskView.model_validate(task)

    return await once(effect)


@router.get("/api/approvals/{document_id}")
async def approval(
    document_id: Annotated[DocumentId, Depends(_document_id)], me: Me, database: Db
) -> ApprovalView:
    """Who was asked, who decided what, when and where."""
    reader = None if me.has(*_SEE_ALL) else EmployeeId(me.subject)
    async with database.transaction() as tx:
        found = await store.latest_approval(tx, document_id, reader)
    if found is None:
        raise Problem(NOT_FOUND)
    return ApprovalView.model_validate(found)
