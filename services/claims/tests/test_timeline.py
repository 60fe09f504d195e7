"""Every event of the road as a sentence: who did what, for whom, in which system."""

from datetime import UTC, datetime

import pytest
from claims.timeline.domain import PHRASES, ROAD, Entry, actor_of, facts_of, system_of
from events import Event, EventId, Money
from events.claims import ClaimApprovalRevoked, PaymentStopped
from events.notices import ChannelName, NoticeSent
from events.oa import Drift, InstanceStatus, OADriftRepaired, OAInstanceClosed
from events.workflow import (
    ApprovalActed,
    ApprovalDecided,
    ApprovalOverdue,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Closing,
    Decision,
    Mode,
    Outcome,
    OverdueAction,
    Verb,
)
from msgspec.structs import replace
from uuid_utils.compat import uuid7

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
HASH = "3f2a91c0" + "0" * 56
CNY = Money(amount="1280.00", currency="CNY")
DOCUMENT = {"document_id": "c-1", "revision": 1}
TASK = {**DOCUMENT, "task_id": "t-1", "step": 2, "assignee_id": "E1002"}
PAYMENT = {"claim_id": "c-1", "payment_id": "p-1", "payee_id": "E1001", "amount": CNY}
DECIDED = {
    **DOCUMENT, "task_id": "t-1", "step": 2, "decision": "approve", "decided_by": "E1003",
    "via": "flowable", "content_hash": HASH, "decided_at": NOW,
}  # fmt: skip


def told(event: Event) -> Entry:
    """The event as the timeline keeps and shows it."""
    return Entry(
        event_id=EventId(uuid7()),
        document_id="c-1",
        topic=event.TOPIC.name,
        partition=0,
        offset=0,
        type=event.TYPE,
        occurred_at=NOW,
        actor=actor_of(event),
        system=system_of(event),
        facts=facts_of(event),
    )


def acted(verb: str, **changes: object) -> ApprovalActed:
    plain = {**DOCUMENT, "task_id": "t-1", "verb": verb, "by": "E1002", "via": "tonglu"}
    return ApprovalActed(**{**plain, "acted_at": NOW, **changes})


def test_every_event_of_the_road_has_its_sentence() -> None:
    assert {cls.TYPE for cls in ROAD} == set(PHRASES)
    for cls in ROAD:
        phrase = PHRASES[cls.TYPE]
        fields = {name.removesuffix("_zh").removesuffix("_en") for name in phrase.fields}
        assert fields | ({phrase.actor} if phrase.actor else set()) <= set(cls.model_fields)


@pytest.mark.parametrize(
    ("event", "zh", "en"),
    [
        (
            ApprovalRequested(
                **DOCUMENT, document_kind="claim", definition="travel-claim@2", mode="mirrored",
                tenant="flowable", submitter_id="E1001", title="上海", total=CNY, route=(),
                content_hash=HASH, requested_at=NOW,
            ),
            "发起审批（同路与 OA 均可审批，flowable）",
            "Approval started (in Tonglu and in the OA, flowable)",
        ),
        (
            ApprovalTaskAssigned(**TASK, step_name="财务", assigned_at=NOW),
            "待 E1002 审批（财务）",
            "Waiting for E1002 (财务)",
        ),
        (
            ApprovalTaskAssigned(**TASK, step_name="财务", assigned_at=NOW, acting_for="E1009"),
            "待 E1002 审批（财务），代 E1009",
            "Waiting for E1002 (财务), for E1009",
        ),
        (
            ApprovalTaskDecided(**DECIDED),
            "审批意见：同意，内容 3f2a91c0",
            "Step decided: approve; content 3f2a91c0",
        ),
        (
            ApprovalTaskDecided(**DECIDED, acting_for="E1002", opinion="[票据齐全]"),
            "审批意见：同意（代 E1002）：[票据齐全]，内容 3f2a91c0",
            "Step decided: approve, for E1002: [票据齐全]; content 3f2a91c0",
        ),
        (
            ApprovalTaskClosed(**TASK, closing="step_done", closed_at=NOW),
            "E1002 无需再审批：本节点已由他人完成",
            "E1002 need not decide any more: others have decided the step",
        ),
        (acted("transfer", targets=("E1003",)), "转交给 E1003", "Transferred to E1003"),
        (acted("copy", targets=("E1", "E2")), "抄送 E1, E2", "Copied to E1, E2"),
        (
            acted("return_to_step", to_step=1, text="缺发票"),
            "退回至第 1 步：缺发票",
            "Returned to step 1: 缺发票",
        ),
        (acted("comment", text="请看住宿费"), "评论：请看住宿费", "Comment: 请看住宿费"),
        (
            ApprovalOverdue(**TASK, due_at=NOW, action="remind", overdue_at=NOW),
            "E1002 超时未审批，已提醒",
            "E1002 is overdue: reminded",
        ),
        (
            ClaimApprovalRevoked(
                claim_id="c-1", revision=1, employee_id="E1001", reason="OA 撤销", revoked_at=NOW
            ),
            "批准被撤销：OA 撤销",
            "Approval taken back: OA 撤销",
        ),
        (
            ClaimApprovalRevoked(
                claim_id="c-1", revision=1, employee_id="E1001", reason="OA 撤销", to_recover=CNY,
                revoked_at=NOW,
            ),
            "批准被撤销：OA 撤销，需追回 1280.00 CNY",
            "Approval taken back: OA 撤销; 1280.00 CNY to be recovered",
        ),
        (
            PaymentStopped(**PAYMENT, reason="批准被撤销", stopped_at=NOW),
            "打款 1280.00 CNY 已停止，款项未动：批准被撤销",
            "Payment of 1280.00 CNY stopped, no money moved: 批准被撤销",
        ),
        (
            OADriftRepaired(
                **DOCUMENT, tenant="flowable", drift="missed_callback", repair="重新读取",
                repaired_by="reconciliation", repaired_at=NOW,
            ),
            "不一致（回调丢失）已消除：重新读取",
            "Disagreement (missed callback) repaired: 重新读取",
        ),
    ],
)  # fmt: skip
def test_sentence_says_what_happened_and_leaves_out_what_is_not_known(event, zh, en) -> None:
    entry = told(event)
    assert (entry.zh, entry.en) == (zh, en)


def test_decision_names_the_person_and_the_system_in_which_it_was_made() -> None:
    entry = told(ApprovalTaskDecided(**DECIDED))
    assert (entry.actor, entry.system) == ("E1003", "flowable")
    here = told(acted("urge", via="tonglu"))
    assert (here.actor, here.system) == ("E1002", "tonglu")


def test_act_of_a_rule_names_no_person() -> None:
    entry = told(acted("stand_in", by=None, targets=("E1003",)))
    assert (entry.actor, entry.zh) == (None, "交由代理人 E1003")


def test_approval_that_the_oa_shows_too_begins_in_tonglu() -> None:
    requested = ApprovalRequested(
        **DOCUMENT, document_kind="claim", definition="travel-claim@2", mode="mirrored",
        tenant="flowable", submitter_id="E1001", title="上海", total=CNY, route=(),
        content_hash=HASH, requested_at=NOW,
    )  # fmt: skip
    assert system_of(requested) == "workflow"


WORDS = [
    *((ApprovalActed, "verb", word) for word in Verb),
    *((ApprovalTaskClosed, "closing", word) for word in Closing),
    *((ApprovalTaskDecided, "decision", word) for word in Decision),
    *((ApprovalRequested, "mode", word) for word in Mode),
    *((ApprovalOverdue, "action", word) for word in OverdueAction),
    *((ApprovalDecided, "outcome", word) for word in Outcome),
    *((OAInstanceClosed, "status", word) for word in InstanceStatus),
    *((OADriftRepaired, "drift", word) for word in Drift),
    *((NoticeSent, "channel", word) for word in ChannelName if word is not ChannelName.WEBHOOK),
]


@pytest.mark.parametrize(("cls", "field", "word"), WORDS)
def test_every_word_of_the_contracts_is_said_in_chinese(cls, field, word) -> None:
    event = cls.model_construct(**dict.fromkeys(cls.model_fields) | {field: word})
    assert not facts_of(event)[f"{field}_zh"].isascii()


def test_entry_of_another_release_is_still_told() -> None:
    entry = Entry(EventId(uuid7()), "c-1", "t", 0, 0, "claim.submitted.v1", NOW, None, "claims", {})
    assert entry.zh == "提交，合计 …"
    assert replace(entry, type="claim.audited.v1").en == "claim.audited.v1"


def test_decision_kept_by_the_release_before_keeps_its_word() -> None:
    facts = {"decision": "approve", "decision_zh": "同意"}
    entry = replace(told(ApprovalTaskDecided(**DECIDED)), facts=facts)
    assert (entry.zh, entry.en) == ("审批意见：同意", "Step decided: approve")
