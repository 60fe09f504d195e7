"""What may be sent about a task, and what is answered."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from chassis.problem import NOT_FOUND, FieldRefusal, Problem, Text
from events import DocumentId, EmployeeId, Money, TaskId
from events.workflow import Completion, Decision, Verb
from fastapi import Depends
from pydantic import AfterValidator, AliasPath, BaseModel, ConfigDict, Field

ID = r"^[0-9A-Za-z.-]{1,200}$"
MAX_BATCH = 200
_NOT_PRINTABLE = Text(
    "含有不可打印的字符，请删除。", "Holds a character no one can read: remove it."
)


def _id(id_: str) -> str:
    if re.fullmatch(ID, id_) is None:
        raise Problem(NOT_FOUND)
    return id_


async def _task_id(task_id: str) -> TaskId:
    return TaskId(_id(task_id))


async def _document_id(document_id: str) -> DocumentId:
    return DocumentId(_id(document_id))


TaskIdInPath = Annotated[TaskId, Depends(_task_id)]
DocumentIdInPath = Annotated[DocumentId, Depends(_document_id)]


def _printable(text: str) -> str:
    if not all(char.isprintable() or char in "\n\t" for char in text):
        raise FieldRefusal(_NOT_PRINTABLE)
    return text


def _each_once(people: list[EmployeeId]) -> list[EmployeeId]:
    return list(dict.fromkeys(people))


Words = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_printable)]
_Person = Annotated[EmployeeId, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Signers = Annotated[list[_Person], Field(min_length=1, max_length=10), AfterValidator(_each_once)]
_Readers = Annotated[list[_Person], Field(min_length=1, max_length=50), AfterValidator(_each_once)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class DecideRequest(_Request):
    """What the approver says, bound to the content that was shown."""

    decision: Literal[Decision.APPROVE, Decision.REJECT, Decision.RETURN]
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    opinion: Words | None = Field(None, description="needed to return or reject")


class DecideItem(DecideRequest):
    """One decision of a batch."""

    task_id: str = Field(pattern=ID)


class DecideBatch(_Request):
    """Decisions that are made in one call, each with its own result."""

    items: list[DecideItem] = Field(min_length=1, max_length=MAX_BATCH)


class HandRequest(_Request):
    """To whom, and why."""

    to: _Person
    text: Words | None = None


class AddSignRequest(_Request):
    """Who must sign too: before I am asked again, or after I have approved."""

    when: Literal["before", "after"]
    people: _Signers
    text: Words | None = None


class RemoveSignRequest(_Request):
    """Whom I added and do not need any more."""

    people: _Signers
    text: Words | None = None


class ReturnToRequest(_Request):
    """Which earlier step is asked anew, and whether it then comes straight back to me."""

    step: int = Field(ge=1, le=1000)
    then: Literal["on", "back"] = Field("on", description="on: step by step; back: to me")
    text: Words


class CopyRequest(_Request):
    """Who may read it."""

    to: _Readers
    text: Words | None = None


class CommentRequest(_Request):
    """What everyone who takes part should read."""

    text: Words


class UrgeRequest(_Request):
    """A word to whoever has not decided yet."""

    text: Words | None = None


class InboxTask(BaseModel):
    """One task, as its person sees it in the inbox."""

    model_config = ConfigDict(from_attributes=True)

    task_id: TaskId
    document_id: DocumentId
    revision: int
    step: int
    step_name: str
    part: str = Field(description="own, before, after (add-sign) or opinion (delegation)")
    rule: str = Field(description="why it is this person's turn")
    acting_for: EmployeeId | None
    title: str
    total: Money
    submitter_id: EmployeeId
    content_hash: str
    assignee_id: EmployeeId
    assigned_at: datetime
    due_at: datetime | None
    decide_in: str = Field(description="tonglu, or the OA in which this task is decided")


class InboxPage(BaseModel):
    """Oldest first; `next` is what to send as `after`, null on the last page."""

    items: list[InboxTask]
    next: TaskId | None


class TaskView(BaseModel):
    """One turn of one person: asked, decided or ended, and why."""

    model_config = ConfigDict(from_attributes=True)

    task_id: TaskId
    step: int
    name: str
    part: str
    assignee_id: EmployeeId
    rule: str
    verb: Verb | None = Field(description="what made it this person's turn; null: the route")
    acting_for: EmployeeId | None
    added_by: EmployeeId | None
    status: str
    closing: str | None
    decision: str | None
    decided_by: EmployeeId | None
    via: str | None
    content_hash: str | None
    opinion: str | None
    automatic: str | None = Field(description="the rule that decided, where no person did")
    assigned_at: datetime
    due_at: datetime | None
    decided_at: datetime | None
    closed_at: datetime | None


class TaskResult(BaseModel):
    """What came of one decision of a batch: the task, or the problem that it met."""

    task_id: str
    task: TaskView | None = None
    problem: dict[str, Any] | None = None


class BatchResult(BaseModel):
    """The results in the order of what was asked."""

    items: list[TaskResult]


class PlannedView(BaseModel):
    """One step of the route, with the people found for it and the rule of the first."""

    model_config = ConfigDict(from_attributes=True)

    step: int
    id: str
    name: str
    completion: Completion
    approver_id: EmployeeId = Field(validation_alias=AliasPath("found", 0, "approver_id"))
    rule: str = Field(validation_alias=AliasPath("found", 0, "rule"))
    found: list["FoundView"] = Field(serialization_alias="approvers")


class FoundView(BaseModel):
    """One person whom a step asks, and by which rule."""

    model_config = ConfigDict(from_attributes=True)

    approver_id: EmployeeId
    rule: str


class ReasonView(BaseModel):
    """Why a step of the definition is as it is in the route."""

    model_config = ConfigDict(from_attributes=True)

    step_id: str
    step: int | None
    zh: str
    en: str


class ActView(BaseModel):
    """What someone, or a rule, did besides deciding."""

    model_config = ConfigDict(from_attributes=True)

    task_id: TaskId | None
    verb: Verb
    acted_by: EmployeeId | None
    via: str
    targets: list[EmployeeId]
    to_step: int | None
    text: str | None
    acted_at: datetime


class Standing(BaseModel):
    """Where an approval stands, and whose turn it is."""

    model_config = ConfigDict(from_attributes=True)

    document_id: DocumentId
    revision: int
    status: str
    open_tasks: list[TaskView]


class ApprovalView(BaseModel):
    """The whole approval of one revision."""

    model_config = ConfigDict(from_attributes=True)

    document_id: DocumentId
    revision: int
    definition: str
    mode: str
    tenant: str | None
    status: str
    automatic: str | None
    title: str
    total: Money
    details: list[str]
    submitter_id: EmployeeId
    content_hash: str
    route: list[PlannedView]
    reasons: list[ReasonView]
    tasks: list[TaskView]
    acts: list[ActView] = []


class TaskLook(BaseModel):
    """A task, what it is about, and what I may do about it now."""

    task: TaskView
    document_id: DocumentId
    revision: int
    title: str
    total: Money
    details: list[str]
    submitter_id: EmployeeId
    content_hash: str
    moves: list[str] = Field(description="decisions and verbs that are open to me")
    return_steps: list[int] = Field(description="earlier steps that it can go back to")
