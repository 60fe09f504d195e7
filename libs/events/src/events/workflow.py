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
    TRIP = "trip"
    ADVANCE = "advance"
    PAYMENT = "payment"
    UNKNOWN = "UNKNOWN"


class Mode(OpenEnum):
    """Where the approval runs."""

    NATIVE = "native"  # in Tonglu's inbox only
    MIRRORED = (
        "mirrored"  # Tonglu's route, each task shown in the OA too; the first decision counts
    )
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


class Completion(OpenEnum):
    """When a step that asks several people is done."""

    ONE = "one"  # 或签: the first of them
    ALL = "all"  # 会签: all of them, asked at once
    RATIO = "ratio"  # 比例: a share of them
    SEQUENCE = "sequence"  # 依次: all of them, one after the other
    UNKNOWN = "UNKNOWN"


class Verb(OpenEnum):
    """What can be done about a task besides deciding it."""

    TRANSFER = "transfer"  # 转交
    DELEGATE = "delegate"  # 委托: it comes back
    ADD_SIGN_BEFORE = "add_sign_before"  # 前加签
    ADD_SIGN_AFTER = "add_sign_after"  # 后加签
    REMOVE_SIGN = "remove_sign"  # 减签
    RETURN_TO_STEP = "return_to_step"  # 退回到之前的节点
    COPY = "copy"  # 抄送
    COMMENT = "comment"  # 评论
    URGE = "urge"  # 催办
    STAND_IN = "stand_in"  # 代理: by rule, in a window of time
    ESCALATE = "escalate"  # 升级: by rule, when overdue
    REROUTE = "reroute"  # 改派: by rule, where no one else can decide
    UNKNOWN = "UNKNOWN"


class Closing(OpenEnum):
    """Why a task ended without a decision of its own."""

    STEP_DONE = "step_done"  # others have decided the step
    TRANSFERRED = "transferred"
    REMOVED = "removed"  # 减签
    STAND_IN = "stand_in"
    ESCALATED = "escalated"
    REROUTED = "rerouted"
    RETURNED = "returned"  # to an earlier step
    ENDED = "ended"  # the whole approval has ended
    UNKNOWN = "UNKNOWN"


class OverdueAction(OpenEnum):
    """What Tonglu did about a task that is late."""

    REMIND = "remind"
    ESCALATE = "escalate"
    DECIDE = "decide"  # as the definition says; the decision follows as an event of its own
    UNKNOWN = "UNKNOWN"


class RouteStep(BaseModel):
    """One step of the planned route: who decides, and by which rule that person was found.

    Where several people are asked, `approver_id` is the first of `approvers`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int = Field(ge=1)
    name: ShortText
    approver_id: EmployeeId
    rule: ShortText
    approvers: tuple[EmployeeId, ...] = ()
    completion: Completion = Completion.ONE


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
    due_at: AwareDatetime | None = None
    verb: Verb | None = None  # what made it this person's turn; None when the route did
    acting_for: EmployeeId | None = None  # whose turn it would be without a stand-in or delegation


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
    acting_for: EmployeeId | None = None
    automatic: ShortText | None = None  # the rule that decided, where no person did


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
    automatic: ShortText | None = None  # the rule that decided, where no person did


class ApprovalCancelled(Event):
    """The approval was called off because its document was withdrawn."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.cancelled.v1"
    SUMMARY_ZH: ClassVar[str] = "单据已撤回，审批随之取消。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    cancelled_at: AwareDatetime


class ApprovalTaskClosed(Event):
    """A task ended without a decision of its own: nobody needs to decide it any more."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.task-closed.v1"
    SUMMARY_ZH: ClassVar[str] = "待办未经本人决定而结束，不必再处理。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    task_id: TaskId
    step: int = Field(ge=1)
    assignee_id: EmployeeId
    closing: Closing
    closed_at: AwareDatetime


class ApprovalActed(Event):
    """Someone, or a rule, did something about an approval besides deciding it."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.acted.v1"
    SUMMARY_ZH: ClassVar[str] = "除作出决定之外，有人（或规则）对审批做了操作。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    task_id: TaskId | None = None  # None where it concerns the whole approval
    verb: Verb
    by: EmployeeId | None = None  # None: a rule did it
    via: Word = Field(description="the system in which it was done: tonglu, or the OA's tenant id")
    targets: tuple[EmployeeId, ...] = ()
    to_step: int | None = None
    text: Opinion | None = None
    acted_at: AwareDatetime


class ApprovalOverdue(Event):
    """A task was not decided in its time, counted in working hours."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.overdue.v1"
    SUMMARY_ZH: ClassVar[str] = "待办超过时限（按工作时间计算）。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    task_id: TaskId
    step: int = Field(ge=1)
    assignee_id: EmployeeId
    due_at: AwareDatetime
    action: OverdueAction
    overdue_at: AwareDatetime


class ApprovalRevoked(Event):
    """An approval that had been given was taken back: what follows from it must stop."""

    TOPIC: ClassVar[Topic] = APPROVAL
    TYPE: ClassVar[str] = "approval.revoked.v1"
    SUMMARY_ZH: ClassVar[str] = "已通过的审批被撤销；由此产生的后续动作必须停止。"

    document_id: DocumentId
    document_kind: DocumentKind
    revision: int = Field(ge=1)
    via: Word = Field(description="the system in which it was taken back")
    reason: ShortText
    revoked_at: AwareDatetime
