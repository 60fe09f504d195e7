"""Facts about approvals as the OA runs them. Owner: services/oa-connector."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from events.event import Event
from events.ids import DocumentId, EmployeeId, InstanceId, TenantId
from events.topic import Topic
from events.values import ContentHash, OpenEnum, Opinion, ShortText
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


class InstanceStatus(OpenEnum):
    """How the OA's process ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    VANISHED = "vanished"  # the OA no longer knows it
    UNKNOWN = "UNKNOWN"


class Drift(OpenEnum):
    """In what way the OA and Tonglu disagree."""

    CONTENT_MISMATCH = "content_mismatch"  # another content was shown to the approver
    UNKNOWN_PERSON = "unknown_person"  # decided by someone whom the route does not name
    VANISHED = "vanished"  # the process is gone without a decision
    UNKNOWN = "UNKNOWN"


class OAInstanceOpened(Event):
    """The OA runs a process for this document, and exactly one."""

    TOPIC: ClassVar[Topic] = INSTANCE
    TYPE: ClassVar[str] = "oa.instance-opened.v1"
    SUMMARY_ZH: ClassVar[str] = "OA 为此单据发起了审批实例，有且仅有一个。"

    document_id: DocumentId
    revision: int = Field(ge=1)
    tenant: TenantId
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
    instance_id: InstanceId
    drift: Drift
    detail: ShortText
    detected_at: AwareDatetime
