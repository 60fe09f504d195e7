"""Facts about approvals as the OA runs them. Owner: services/oa-connector."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from events.event import Event
from events.ids import DocumentId, EmployeeId, InstanceId, TaskId, TenantId
from events.topic import Topic
from events.values import ContentHash, OpenEnum, Opinion, ShortText, Word
from events.workflow import Decision

INSTANCE = Topic(
    "oa.instance.v1",
    key="document_id",
    owner="oa-connector",
    readers=("claims", "notifier", "workflow"),
    summary="What the OA did with a document: opened, decided, closed, stuck, drifted.",
    summary_zh="OA 对单据做了什么：发起、审批、办结、卡住、不一致。",
    retention=None,
    pii="free_text",
)
CONTRACT = Topic(
    "oa.contract.v1",
    key="tenant",
    owner="oa-connector",
    readers=("notifier",),
    summary="What an OA turned out to be: its version, its forms, and whether we trust them.",
    summary_zh="OA 的版本与表单有何变化，以及我方是否仍按原样使用。",
    retention=None,
    pii="none",
)


class InstanceStatus(OpenEnum):
    """How the OA's process ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    TERMINATED = "terminated"  # by an administrator of the OA
    EXPIRED = "expired"
    REVOKED = "revoked_after_approval"  # an approval that the OA had reported was taken back
    VANISHED = "vanished"  # the OA no longer knows it
    UNKNOWN = "UNKNOWN"


class Drift(OpenEnum):
    """In what way the OA and Tonglu disagree."""

    CONTENT_MISMATCH = "content_mismatch"  # another content was shown to the approver
    UNKNOWN_PERSON = "unknown_person"  # decided by, or asked of, someone who is not known
    VANISHED = "vanished"  # the process is gone without a decision
    MISSED_CALLBACK = "missed_callback"  # the OA moved on and did not tell us
    LOST_PUSH = "lost_push"  # what we sent is not there
    GHOST = "ghost"  # the OA runs more than one process for one document
    AMOUNT_MISMATCH = "amount_mismatch"
    ORPHAN = "orphan"  # the OA runs a process of ours that we know nothing of
    STATE_CONFLICT = "state_conflict"  # both have ended, and not in the same way
    UNKNOWN = "UNKNOWN"


class OAInstanceOpened(Event):
    """The OA runs a process for this document, and exactly one."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.instance-opened.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 为此单据发起了审批实例，有且仅有一个。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    instance_id: InstanceId
    opened_at: AwareDatetime


class OADecisionReceived(Event):
    """A person decided a step in the OA, as the OA itself reports when asked."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.decision-received.v1"
    SUMMARY_ZH: ClassVar[str] = "有人在 OA 中审批了一个节点，以向 OA 查询所得为准。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    instance_id: InstanceId
    step: int = Field(ge=1)
    decision: Decision
    decided_by: EmployeeId
    content_hash: ContentHash
    opinion: Opinion | None = None
    decided_at: AwareDatetime


class OAInstanceClosed(Event):
    """The OA's process has ended, with the status that the OA reports."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.instance-closed.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 审批实例已结束，状态以 OA 所报为准。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    instance_id: InstanceId
    status: InstanceStatus
    closed_at: AwareDatetime


class OASubmissionStuck(Event):
    """A document could not be brought into the OA, and a person must look."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.submission-stuck.v1"
    SUMMARY_ZH: ClassVar[str] = "单据无法送达 OA，需人工处理。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    reason: ShortText
    stuck_at: AwareDatetime


class OADriftDetected(Event):
    """The OA's state contradicts ours; nothing is decided by it until a person has looked."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.drift-detected.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 与我方状态不一致；人工核对之前不据此作任何决定。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    instance_id: InstanceId
    drift: Drift
    detail: ShortText
    detected_at: AwareDatetime


class OADriftRepaired(Event):
    """A difference between the OA and Tonglu is gone, by a repair that cannot do harm."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.drift-repaired.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 与我方的不一致已由安全的修复消除。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
    task_id: TaskId | None = None  # the task that it mirrors; None for a whole approval
    instance_id: InstanceId | None = None
    drift: Drift
    repair: ShortText
    repaired_by: Word = Field(description="reconciliation, or the id of the administrator")
    repaired_at: AwareDatetime


class OAContractChanged(Event):
    """The OA is not what it was: another version, or another form."""

    TOPIC: ClassVar[Topic] = CONTRACT
    TYPE: ClassVar[str] = "oa.contract-changed.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 有变：版本或表单与之前不同。"

    tenant: TenantId
    template: Word | None = None  # the form that changed; None when it is the OA itself
    version: Word | None = None
    degraded: bool = False  # an unknown newer version: it runs on what we knew, and is watched
    paused: bool = False  # nothing new is sent by this template until a person has looked
    detail: ShortText
    changed_at: AwareDatetime
