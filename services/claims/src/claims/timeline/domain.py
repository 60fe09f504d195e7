"""The road of a document in sentences: who did what, in which system."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from string import Formatter
from typing import Any

from events import Event, EventId, event_classes
from events.claims import CLAIM
from events.notices import NOTICE
from events.oa import INSTANCE
from events.workflow import APPROVAL

# Every event of the topics that tell something about a claim.
ROAD: tuple[type[Event], ...] = tuple(
    cls for cls in event_classes() if cls.TOPIC in {CLAIM, APPROVAL, INSTANCE, NOTICE}
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """One sentence in both languages, and which field names the person who acted."""

    zh: str
    en: str
    actor: str | None = None

    @property
    def fields(self) -> set[str]:
        """The fields of the event that the sentence names."""
        return {name for _, name, _, _ in Formatter().parse(self.zh + self.en) if name}


PHRASES: Mapping[str, Phrase] = {
    "claim.submitted.v1": Phrase("提交，合计 {total}", "Handed in, {total}", "employee_id"),
    "claim.withdrawn.v1": Phrase("撤回", "Withdrawn", "employee_id"),
    "claim.returned.v1": Phrase("退回修改", "Returned for changes"),
    "claim.rejected.v1": Phrase("被驳回", "Rejected"),
    "claim.approved.v1": Phrase("审批通过", "Approved"),
    "payment.requested.v1": Phrase("请求打款 {amount}", "Payment of {amount} requested"),
    "payment.settled.v1": Phrase(
        "已打款 {amount}，回单 {receipt}", "Paid {amount}, receipt {receipt}"
    ),
    "payment.failed.v1": Phrase("打款失败：{reason}", "Payment failed: {reason}"),
    "approval.requested.v1": Phrase("发起审批", "Approval started"),
    "approval.task-assigned.v1": Phrase(
        "待 {assignee_id} 审批（{step_name}）", "Waiting for {assignee_id} ({step_name})"
    ),
    "approval.task-decided.v1": Phrase(
        "审批意见：{decision_zh}", "Step decided: {decision}", "decided_by"
    ),
    "approval.decided.v1": Phrase("审批结束：{outcome_zh}", "Approval ended: {outcome}"),
    "approval.cancelled.v1": Phrase("审批取消", "Approval called off"),
    "oa.instance-opened.v1": Phrase(
        "已进入 OA，实例 {instance_id}", "Opened in the OA as {instance_id}"
    ),
    "oa.decision-received.v1": Phrase(
        "在 OA 中审批：{decision_zh}", "Decided in the OA: {decision}", "decided_by"
    ),
    "oa.instance-closed.v1": Phrase("OA 实例办结：{status_zh}", "Closed in the OA: {status}"),
    "oa.submission-stuck.v1": Phrase(
        "未能进入 OA：{reason}", "Could not be brought into the OA: {reason}"
    ),
    "oa.drift-detected.v1": Phrase(
        "OA 与本系统不一致：{detail}", "The OA and Tonglu disagree: {detail}"
    ),
    "notice.sent.v1": Phrase(
        "已通知 {recipient_id}（{channel_zh}）", "{recipient_id} told by {channel}"
    ),
    "notice.failed.v1": Phrase(
        "未能通知 {recipient_id}（{channel_zh}）：{reason}",
        "{recipient_id} not reached by {channel}: {reason}",
    ),
}
_WORDS_ZH: Mapping[str, str] = {
    "approve": "同意",
    "approved": "通过",
    "reject": "驳回",
    "rejected": "驳回",
    "return": "退回",
    "returned": "退回",
    "withdrawn": "撤回",
    "vanished": "OA 中已不存在",
    "in_app": "站内",
    "email": "邮件",
    "webhook": "Webhook",
    "UNKNOWN": "未知",
}


class _Facts(dict[str, str]):
    """What was kept of an event, maybe by a release whose sentence named less of it."""

    def __missing__(self, name: str) -> str:
        return "…"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the road with its place on its topic. `system`: where it happened."""

    event_id: EventId
    document_id: str
    topic: str
    partition: int
    offset: int
    type: str
    occurred_at: datetime
    actor: str | None
    system: str
    facts: dict[str, str]

    @property
    def zh(self) -> str:
        return self._phrase.zh.format_map(_Facts(self.facts))

    @property
    def en(self) -> str:
        return self._phrase.en.format_map(_Facts(self.facts))

    @property
    def _phrase(self) -> Phrase:
        # Another release may have kept a type that this one does not know.
        return PHRASES.get(self.type, Phrase(self.type, self.type))


def actor_of(event: Event) -> str | None:
    """The person who acted, where the event names one."""
    field = PHRASES[event.TYPE].actor
    return None if field is None else str(getattr(event, field))


def system_of(event: Event) -> str:
    """Where it happened: the OA's tenant, else the service that says so."""
    return str(getattr(event, "tenant", None) or event.TOPIC.owner)


def facts_of(event: Event) -> dict[str, str]:
    """What the sentence needs of the event, and nothing more."""
    return {name: _fact(event, name) for name in PHRASES[event.TYPE].fields}


def _fact(event: Event, name: str) -> str:
    if name.endswith("_zh"):
        word = _fact(event, name.removesuffix("_zh"))
        return _WORDS_ZH.get(word, word)
    value: Any = getattr(event, name)
    currency = getattr(value, "currency", None)
    return str(value) if currency is None else f"{value.amount:f} {currency}"
