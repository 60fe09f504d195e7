"""Who is told what after each event: rows once per cause, person and channel."""

from datetime import timedelta

import pytest
from chassis import Retry
from events import Money
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    PaymentFailed,
    PaymentSettled,
    PaymentStopped,
)
from events.directory import EmploymentStatus
from events.notices import ChannelName
from events.oa import OAContractChanged, OADriftDetected, OASubmissionStuck
from events.workflow import (
    ApprovalActed,
    ApprovalOverdue,
    ApprovalRevoked,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
)
from notifier import handlers, store
from notifier.channels.letters import compose

NOW = "2026-11-24T08:00:00Z"
CNY = Money(amount="1234.50", currency="CNY")
TO_EMPLOYEE = {"claim_id": "C1", "revision": 1, "employee_id": "E1001"}
PAID = {"claim_id": "C1", "payment_id": "P1", "payee_id": "E1001", "amount": CNY}
TASK = {"document_id": "C1", "revision": 1, "task_id": "T1", "step": 1}
IN_OA = {"document_id": "C1", "revision": 1, "tenant": "flowable"}


async def rows(database) -> list[tuple[str, str, str]]:
    found = await database.pool.fetch(
        "SELECT recipient_id, template, channel FROM notice ORDER BY recipient_id, channel"
    )
    return [tuple(row) for row in found]


async def test_approver_is_told_by_every_channel(road, database) -> None:
    await road.ask()
    assert await rows(database) == [
        ("E1002", "approval_task", channel) for channel in ("email", "in_app", "webhook")
    ]


@pytest.mark.parametrize(
    ("handler", "event", "told"),
    [
        ("on_claim_returned", ClaimReturned(**TO_EMPLOYEE, returned_at=NOW), "E1001"),
        ("on_claim_rejected", ClaimRejected(**TO_EMPLOYEE, rejected_at=NOW), "E1001"),
        (
            "on_claim_approved",
            ClaimApproved(**TO_EMPLOYEE, content_hash="0" * 64, approved_at=NOW),
            "E1001",
        ),
        ("on_payment_settled", PaymentSettled(**PAID, receipt="R-1", settled_at=NOW), "E1001"),
        ("on_payment_failed", PaymentFailed(**PAID, reason="账号有误", failed_at=NOW), "E1001"),
        ("on_oa_stuck", OASubmissionStuck(**IN_OA, reason="timeout", stuck_at=NOW), "E1005"),
        (
            "on_oa_drift",
            OADriftDetected(
                **IN_OA, instance_id="I1", drift="vanished", detail="gone", detected_at=NOW
            ),
            "E1005",
        ),
        (
            "on_oa_contract_changed",
            OAContractChanged(
                tenant="flowable", template="travel", paused=True, detail="字段变了", changed_at=NOW
            ),
            "E1005",
        ),
        (
            "on_overdue",
            ApprovalOverdue(
                **TASK, assignee_id="E1002", due_at=NOW, action="remind", overdue_at=NOW
            ),
            "E1002",
        ),
        ("on_payment_stopped", PaymentStopped(**PAID, reason="撤销", stopped_at=NOW), "E1005"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_event_tells_its_person_and_twice_is_once(
    road, database, handler, event, told
) -> None:
    take = getattr(road.tell, handler)
    cause = await road.take(take, event)
    await road.take(take, event, cause)
    found = await rows(database)
    assert {recipient for recipient, _, _ in found} == {told}
    assert sorted(channel for _, _, channel in found) == ["email", "in_app", "webhook"]


def acted(verb: str, **changes) -> ApprovalActed:
    plain = {"document_id": "C1", "revision": 1, "task_id": "T1", "verb": verb, "via": "tonglu"}
    return ApprovalActed(**{**plain, "by": "E1010", "acted_at": NOW, **changes})


async def told_by(database, template: str) -> list[str]:
    found = await database.pool.fetch(
        "SELECT DISTINCT recipient_id FROM notice WHERE template = $1 ORDER BY 1", template
    )
    return [row["recipient_id"] for row in found]


async def test_copy_tells_those_it_names_and_urging_the_one_who_is_asked(road, database) -> None:
    await road.ask()
    await road.take(road.tell.on_acted, acted("copy", targets=("E1005", "E1010")))
    await road.take(road.tell.on_acted, acted("urge", by="E1001", targets=("E1002",)))
    assert await told_by(database, "approval_copy") == ["E1005"]
    assert await told_by(database, "approval_urged") == ["E1002"]


async def test_comment_tells_submitter_and_asked_but_not_its_author(road, database) -> None:
    await road.ask()
    await road.take(road.tell.on_acted, acted("comment", by="E1010", text="请看住宿费"))
    assert await told_by(database, "approval_comment") == ["E1001", "E1002"]
    await database.pool.execute("DELETE FROM notice WHERE template = 'approval_comment'")
    await road.take(road.tell.on_acted, acted("comment", by="E1001", text="已补"))
    assert await told_by(database, "approval_comment") == ["E1002"]


@pytest.mark.parametrize("verb", ["transfer", "delegate", "stand_in", "escalate", "a new one"])
async def test_act_whose_task_tells_its_own_person_is_not_told_twice(road, database, verb) -> None:
    await road.take(road.tell.on_acted, acted(verb, targets=("E1002",)))
    assert await rows(database) == []


async def test_ended_task_is_not_told_any_more_and_a_told_one_is_marked(road, database) -> None:
    await road.ask()
    await database.pool.execute(
        "UPDATE notice SET state = 'sent', attempts = 1 WHERE channel = 'in_app'"
    )
    await database.pool.execute("UPDATE notice SET attempts = 1 WHERE channel = 'email'")
    await road.end("C1", "T9")
    assert len(await rows(database)) == 3
    await road.end()
    kept = await database.pool.fetch("SELECT channel, done_at FROM notice ORDER BY channel")
    assert [row["channel"] for row in kept] == ["email", "in_app"]
    assert all(row["done_at"] for row in kept)


async def test_who_lost_a_late_task_is_told_of_it_though_the_task_has_ended(road, database) -> None:
    late = ApprovalOverdue(
        **TASK, assignee_id="E1002", due_at=NOW, action="escalate", overdue_at=NOW
    )
    await road.take(road.tell.on_overdue, late)
    await road.end()
    assert await told_by(database, "approval_overdue") == ["E1002"]


async def test_own_decision_ends_the_notice_too_and_nobody_is_asked_then(road, database) -> None:
    await road.ask()
    await database.pool.execute("UPDATE notice SET state = 'sent'")
    decided = ApprovalTaskDecided(
        **TASK, decision="approve", decided_by="E1002", via="flowable", content_hash="0" * 64,
        decided_at=NOW,
    )  # fmt: skip
    async with database.transaction() as tx:
        await handlers.on_tasks_ended(tx, [road.received(decided)])
    await road.take(road.tell.on_acted, acted("comment", text="晚了"))
    assert await told_by(database, "approval_comment") == ["E1001"]


async def test_stand_in_is_told_for_whom(road, database) -> None:
    assigned = ApprovalTaskAssigned(
        **TASK, step_name="财务", assignee_id="E1002", assigned_at=NOW, verb="stand_in",
        acting_for="E1005",
    )  # fmt: skip
    await road.take(road.tell.on_task_assigned, assigned)
    async with database.transaction() as tx:
        (taken,) = await store.take_due(
            tx, ChannelName.IN_APP, at_most=5, lease=timedelta(minutes=1)
        )
    assert "（您代 孙洁 审批）" in compose(taken.notice).body


async def test_revoked_approval_tells_employee_and_finance(road, database, hire_as) -> None:
    await road.hire(hire_as("E1003", "赵敏", roles=("finance",)))
    revoked = ClaimApprovalRevoked(**TO_EMPLOYEE, reason="OA 撤销", to_recover=CNY, revoked_at=NOW)
    await road.take(road.tell.on_claim_approval_revoked, revoked)
    await road.take(
        road.tell.on_payment_stopped, PaymentStopped(**PAID, reason="x", stopped_at=NOW)
    )
    assert await told_by(database, "approval_revoked") == ["E1001", "E1003"]
    assert await told_by(database, "payment_stopped") == ["E1003"]


@pytest.mark.parametrize(("kind", "told"), [("claim", []), ("trip", ["E1001", "E1005"])])
async def test_revoked_approval_of_a_claim_is_told_by_the_claim_alone(
    road, database, kind, told
) -> None:
    await road.ask()
    revoked = ApprovalRevoked(
        document_id="C1", document_kind=kind, revision=1, via="flowable", reason="撤销",
        revoked_at=NOW,
    )  # fmt: skip
    await road.take(road.tell.on_approval_revoked, revoked)
    assert await told_by(database, "approval_revoked") == told


async def test_unknown_employee_is_waited_for(road, database, hire_as) -> None:
    event = ClaimReturned(claim_id="C1", revision=1, employee_id="E1999", returned_at=NOW)
    with pytest.raises(Retry):
        await road.take(road.tell.on_claim_returned, event)
    await road.hire(hire_as("E1999", "新人"))
    await road.take(road.tell.on_claim_returned, event)
    assert len(await rows(database)) == 3


async def test_without_an_administrator_a_stuck_document_waits_for_one(
    road, database, hire_as
) -> None:
    await road.hire(hire_as("E1005", "孙洁", roles=("admin",), status=EmploymentStatus.LEFT))
    event = OASubmissionStuck(**IN_OA, reason="timeout", stuck_at=NOW)
    with pytest.raises(Retry):
        await road.take(road.tell.on_oa_stuck, event)


async def test_person_who_left_is_told_nothing(road, database, hire_as) -> None:
    await road.hire(hire_as("E1001", "林晓", status=EmploymentStatus.LEFT))
    event = ClaimReturned(**TO_EMPLOYEE, returned_at=NOW)
    await road.take(road.tell.on_claim_returned, event)
    assert await rows(database) == []


async def test_last_state_of_a_person_in_a_batch_wins(road, database, hire_as) -> None:
    await road.hire(
        hire_as("E1001", "林晓"), hire_as("E1001", "林小", email=None, roles=("a", "b"))
    )
    row = await database.pool.fetchrow("SELECT * FROM employee WHERE employee_id = 'E1001'")
    assert (row["name"], row["email"], row["roles"]) == ("林小", None, ["a", "b"])
