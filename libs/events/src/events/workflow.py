"""Facts about approvals. Owner: services/workflow; decisions count here, wherever made."""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from events.event import Event
from events.ids import DocumentId, EmployeeId, TaskId, TenantId
from events.topic import Topic
from events.values import ContentHash, Money, OpenEnum, Opinion, ShortText, Word

APPROVAL = Topic(
    "workflow.approval.v1",
    key="document_id",
    owner="workflow",
    readers=("claims", "notifier", "oa-connector"),
    summary="Who must decide on a document, who decided what, and what came of it.",
    summary_zh="单据由谁审批、谁作了什么决定、结果如何。",
    retention=None,
    pii="free_text",
)


class DocumentKind(OpenEnum):
    """What is being approved."""

    CLAIM = "claim"
    UNKNOWN = "UNKNOWN"


class Mode(OpenEnum):
    """Where the approval runs."""

    NATIVE = "native"  # in Tonglu's inbox only
    DELEGATED = "delegated"  # in the OA's own process; Tonglu follows
    UNKNOWN = "UNKNOWN"


class Decision(OpenEnum):
    """What an approver says to one task."""

    APPROVE = "approve"
    REJECT = "reject"
    RETURN = "return"
    UNKNOWN = "UNKNOWN"


class Outcome(OpenEnum):
    """What came of the whole approval."""

    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    UNKNOWN = "UNKNOWN"


class RouteStep(BaseModel):
    """One step of the planned route: who decides, and by which rule that person was found."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int = Field(ge=1)
    name: ShortText
    approver_id: EmployeeId
    rule: ShortText


class ApprovalRequested(Event):
    """A document needs approval; its route is planned from first step to last."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.requested.v1"
    SUMMARY_ZH: ClassVar[str] = "单据需要审批，审批流已从头到尾排定。"

    document_id: DocumentId
    document_kind: DocumentKind
    revision: int = Field(ge=1)
    definition: Word = Field(description="id and version of the definition, as in travel-claim@1")
    mode: Mode
    tenant: TenantId | None = None  # the OA that runs it; None when the mode is native
    submitter_id: EmployeeId
    title: ShortText
    total: Money
    details: tuple[ShortText, ...] = ()  # a readable row for each line, violations first
    route: tuple[RouteStep, ...]
    content_hash: ContentHash
    requested_at: AwareDatetime


class ApprovalTaskAssigned(Event):
    """It is now this person's turn to decide."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.task-assigned.v1"
    SUMMARY_ZH: ClassVar[str] = "现在轮到此人审批。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    task_id: TaskId
    step: int = Field(ge=1)
    step_name: ShortText
    assignee_id: EmployeeId
    assigned_at: AwareDatetime


class ApprovalTaskDecided(Event):
    """The first valid decision on a task. Later ones do not count."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.task-decided.v1"
    SUMMARY_ZH: ClassVar[str] = "待办的首个有效决定；之后的不再计入。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    task_id: TaskId
    step: int = Field(ge=1)
    decision: Decision
    decided_by: EmployeeId
    via: Word = Field(
        description="the system in which it was decided: tonglu, or the OA's tenant id"
    )
    content_hash: ContentHash
    opinion: Opinion | None = None
    decided_at: AwareDatetime


class ApprovalDecided(Event):
    """The approval has ended. An UNKNOWN outcome is never a yes."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.decided.v1"
    SUMMARY_ZH: ClassVar[str] = "审批已结束；未知结果绝不代表同意。"

    document_id: DocumentId
    document_kind: DocumentKind
    revision: int = Field(ge=1)
    outcome: Outcome
    content_hash: ContentHash
    decided_at: AwareDatetime


class ApprovalCancelled(Event):
    """The approval was called off because its document was withdrawn."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.cancelled.v1"
    SUMMARY_ZH: ClassVar[str] = "单据已撤回，审批随之取消。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    cancelled_at: AwareDatetime
