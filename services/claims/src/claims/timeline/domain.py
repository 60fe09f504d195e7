"""The road of a document in sentences: who did what, in which system."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from string import Formatter
from typing import Any

from events import Event, EventId, event_classes
from events.claims import CLAIM
from events.notices import NOTICE
from events.oa import INSTANCE
from events.workflow import APPROVAL
from msgspec import Struct

# Every event of the topics that tell something about a claim.
ROAD: tuple[type[Event], ...] = tuple(
    cls for cls in event_classes() if cls.TOPIC in {CLAIM, APPROVAL, INSTANCE, NOTICE}
)


class Phrase(Struct, frozen=True):
    """One sentence in both languages, and which field names the person who acted.

    `{name}` is what the event says, `{name_zh}` and `{name_en}` the word for it in that language.
    What stands in square brackets is said only where each field in it is known.
    """

    zh: str
    en: str
    actor: str | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The names in the sentence."""
        return _names(self.zh) | _names(self.en)


@cache  # the sentences are few, and every event of the road asks
def _names(sentence: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(sentence) if name)


PHRASES: Mapping[str, Phrase] = {
    "claim.submitted.v1": Phrase("提交，合计 {total}", "Handed in, {total}", "employee_id"),
    "claim.withdrawn.v1": Phrase("撤回", "Withdrawn", "employee_id"),
    "claim.returned.v1": Phrase("退回修改", "Returned for changes"),
    "claim.rejected.v1": Phrase("被驳回", "Rejected"),
    "claim.approved.v1": Phrase("审批通过", "Approved"),
    "claim.approval-revoked.v1": Phrase(
        "批准被撤销：{reason}[，需追回 {to_recover}]",
        "Approval taken back: {reason}[; {to_recover} to be recovered]",
    ),
    "payment.requested.v1": Phrase("请求打款 {amount}", "Payment of {amount} requested"),
    "payment.settled.v1": Phrase(
        "已打款 {amount}，回单 {receipt}", "Paid {amount}, receipt {receipt}"
    ),
    "payment.failed.v1": Phrase("打款失败：{reason}", "Payment failed: {reason}"),
    "payment.stopped.v1": Phrase(
        "打款 {amount} 已停止，款项未动：{reason}",
        "Payment of {amount} stopped, no money moved: {reason}",
    ),
    "approval.requested.v1": Phrase(
        "发起审批（{mode_zh}[，{tenant}]）", "Approval started ({mode_en}[, {tenant}])"
    ),
    "approval.task-assigned.v1": Phrase(
        "待 {assignee_id} 审批（{step_name}）[，代 {acting_for}]",
        "Waiting for {assignee_id} ({step_name})[, for {acting_for}]",
    ),
    "approval.task-decided.v1": Phrase(
        "审批意见：{decision_zh}[（代 {acting_for}）][（按规则 {automatic} 自动）][：{opinion}]"
        "[，内容 {content_hash}]",
        "Step decided: {decision_en}[, for {acting_for}][, by the rule {automatic}][: {opinion}]"
        "[; content {content_hash}]",
        "decided_by",
    ),
    "approval.task-closed.v1": Phrase(
        "{assignee_id} 无需再审批：{closing_zh}",
        "{assignee_id} need not decide any more: {closing_en}",
    ),
    "approval.acted.v1": Phrase(
        "{verb_zh}[ {targets}][至第 {to_step} 步][：{text}]",
        "{verb_en}[ {targets}][ to step {to_step}][: {text}]",
        "by",
    ),
    "approval.overdue.v1": Phrase(
        "{assignee_id} 超时未审批，{action_zh}", "{assignee_id} is overdue: {action_en}"
    ),
    "approval.decided.v1": Phrase(
        "审批结束：{outcome_zh}[（按规则 {automatic} 自动）]",
        "Approval ended: {outcome_en}[, by the rule {automatic}]",
    ),
    "approval.cancelled.v1": Phrase("审批取消", "Approval called off"),
    "approval.revoked.v1": Phrase("已通过的审批被撤销：{reason}", "Approval taken back: {reason}"),
    "oa.instance-opened.v1": Phrase(
        "已进入 OA，实例 {instance_id}", "Opened in the OA as {instance_id}"
    ),
    "oa.decision-received.v1": Phrase(
        "在 OA 中审批：{decision_zh}", "Decided in the OA: {decision_en}", "decided_by"
    ),
    "oa.instance-closed.v1": Phrase("OA 实例办结：{status_zh}", "Closed in the OA: {status_en}"),
    "oa.submission-stuck.v1": Phrase(
        "未能进入 OA：{reason}", "Could not be brought into the OA: {reason}"
    ),
    "oa.drift-detected.v1": Phrase(
        "OA 与本系统不一致（{drift_zh}）：{detail}",
        "The OA and Tonglu disagree ({drift_en}): {detail}",
    ),
    "oa.drift-repaired.v1": Phrase(
        "不一致（{drift_zh}）已消除：{repair}", "Disagreement ({drift_en}) repaired: {repair}"
    ),
    "notice.sent.v1": Phrase(
        "已通知 {recipient_id}（{channel_zh}）", "{recipient_id} told by {channel_en}"
    ),
    "notice.failed.v1": Phrase(
        "未能通知 {recipient_id}（{channel_zh}）：{reason}",
        "{recipient_id} not reached by {channel_en}: {reason}",
    ),
}
_WORDS_ZH: Mapping[str, str] = {
    "native": "在同路审批",
    "mirrored": "同路与 OA 均可审批",
    "delegated": "由 OA 审批",
    "approve": "同意",
    "approved": "通过",
    "reject": "驳回",
    "rejected": "驳回",
    "return": "退回",
    "returned": "退回",
    "withdrawn": "撤回",
    "terminated": "被 OA 管理员终止",
    "expired": "已过期",
    "revoked_after_approval": "通过后又被撤销",
    "vanished": "OA 中已不存在",
    "transfer": "转交给",
    "delegate": "委托给",
    "add_sign_before": "前加签",
    "add_sign_after": "后加签",
    "remove_sign": "减签",
    "return_to_step": "退回",
    "copy": "抄送",
    "comment": "评论",
    "urge": "催办",
    "stand_in": "交由代理人",
    "escalate": "升级给",
    "reroute": "改派给",
    "step_done": "本节点已由他人完成",
    "transferred": "已转交",
    "removed": "已减签",
    "escalated": "已升级",
    "rerouted": "已改派",
    "ended": "审批已结束",
    "remind": "已提醒",
    "decide": "按规则自动处理",
    "content_mismatch": "内容不符",
    "unknown_person": "审批人不在审批流中，或在 OA 无账号",
    "missed_callback": "回调丢失",
    "lost_push": "发起丢失",
    "ghost": "重复实例",
    "amount_mismatch": "金额不符",
    "orphan": "OA 中有我方不知道的实例",
    "state_conflict": "双方结果不同",
    "in_app": "站内",
    "email": "邮件",
    "webhook": "Webhook",
    "UNKNOWN": "未知",
}
# A word that is not here is said as the contract has it, with spaces.
_WORDS_EN: Mapping[str, str] = {
    "native": "in Tonglu",
    "mirrored": "in Tonglu and in the OA",
    "delegated": "in the OA",
    "vanished": "gone from the OA",
    "transfer": "Transferred to",
    "delegate": "Delegated to",
    "add_sign_before": "Asked to sign before:",
    "add_sign_after": "Asked to sign after:",
    "remove_sign": "Need not sign any more:",
    "return_to_step": "Returned",
    "copy": "Copied to",
    "comment": "Comment",
    "urge": "Urged",
    "stand_in": "Handed to the stand-in",
    "escalate": "Escalated to",
    "reroute": "Rerouted to",
    "step_done": "others have decided the step",
    "ended": "the approval has ended",
    "remind": "reminded",
    "decide": "decided by rule",
    "UNKNOWN": "unknown",
}
_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_HASH_SHOWN = 8  # enough to tell two contents of one document apart


class _Facts(dict[str, str]):
    """What was kept of an event, maybe by a release whose sentence named less of it."""

    def __missing__(self, name: str) -> str:
        return self.get(name.removesuffix("_en"), "…")


class Entry(Struct, frozen=True):
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
        return _say(self._phrase.zh, self.facts)

    @property
    def en(self) -> str:
        return _say(self._phrase.en, self.facts)

    @property
    def _phrase(self) -> Phrase:
        # Another release may have kept a type that this one does not know.
        return PHRASES.get(self.type, Phrase(self.type, self.type))


def _say(sentence: str, facts: Mapping[str, str]) -> str:
    known = {name for name, value in facts.items() if value}
    chosen = _OPTIONAL.sub(lambda part: part[1] if _names(part[1]) <= known else "", sentence)
    return chosen.format_map(_Facts(facts))


def actor_of(event: Event) -> str | None:
    """The person who acted, where the event names one."""
    field = PHRASES[event.TYPE].actor
    person = None if field is None else getattr(event, field)
    return None if person is None else str(person)


def system_of(event: Event) -> str:
    """Where it happened: in the OA or in Tonglu, as the event says; else the service says so."""
    said = vars(event)  # to ask a model for what it has not costs as much as reading the record
    in_oa = said.get("tenant") if event.TOPIC is INSTANCE else None
    return str(in_oa or said.get("via") or event.TOPIC.owner)


def facts_of(event: Event) -> dict[str, str]:
    """What the sentence needs of the event, and nothing more; "" where the event says nothing."""
    return {name: _fact(event, name) for name in PHRASES[event.TYPE].fields}


def _fact(event: Event, name: str) -> str:
    if name.endswith("_zh"):
        word = _fact(event, name.removesuffix("_zh"))
        return _WORDS_ZH.get(word, word)
    if name.endswith("_en"):
        word = _fact(event, name.removesuffix("_en"))
        return _WORDS_EN.get(word, word.replace("_", " "))
    value: Any = getattr(event, name)
    if value is None:
        return ""
    if name == "content_hash":
        return str(value)[:_HASH_SHOWN]
    if isinstance(value, tuple):
        return ", ".join(value)
    currency = getattr(value, "currency", None)
    return str(value) if currency is None else f"{value.amount:f} {currency}"
