"""Facts about what people were told. Owner: services/notifier."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from events.event import Event
from events.ids import DocumentId, EmployeeId, NoticeId
from events.topic import Topic
from events.values import OpenEnum, ShortText, Word

NOTICE = Topic(
    "notifier.notice.v1",
    key="recipient_id",
    owner="notifier",
    readers=("claims",),
    summary="Which person was told what about which document, and where that failed.",
    summary_zh="谁在何时通过何渠道收到了关于哪张单据的通知，或为何失败。",
)


class ChannelName(OpenEnum):
    """How a person is reached."""

    IN_APP = "in_app"
    EMAIL = "email"
    WEBHOOK = "webhook"
    UNKNOWN = "UNKNOWN"


class NoticeSent(Event):
    """A notice was handed to its channel."""

    TOPIC: ClassVar[Topic] = NOTICE
    TYPE: ClassVar[str] = "notice.sent.v1"
    SUMMARY_ZH: ClassVar[str] = "通知已交给渠道。"

    recipient_id: EmployeeId
    notice_id: NoticeId
    document_id: DocumentId
    template: Word
    channel: ChannelName
    sent_at: AwareDatetime


class NoticeFailed(Event):
    """A channel has refused a notice for good; the others were not affected."""

    TOPIC: ClassVar[Topic] = NOTICE
    TYPE: ClassVar[str] = "notice.failed.v1"
    SUMMARY_ZH: ClassVar[str] = "某一渠道最终拒绝了通知，其他渠道不受影响。"

    recipient_id: EmployeeId
    notice_id: NoticeId
    document_id: DocumentId
    template: Word
    channel: ChannelName
    attempts: int = Field(ge=1)
    reason: ShortText
    failed_at: AwareDatetime
