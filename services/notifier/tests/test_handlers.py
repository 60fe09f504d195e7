"""Who is told what after each event: rows once per cause, person and channel."""

import pytest
from chassis import Retry
from events import Money
from events.claims import (
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    PaymentFailed,
    PaymentSettled,
)
from events.directory import EmploymentStatus
from events.oa import OADriftDetected, OASubmissionStuck

NOW = "2026-11-24T08:00:00Z"
CNY = Money(amount="1234.50", currency="CNY")
TO_EMPLOYEE = {"claim_id": "C1", "revision": 1, "employee_id": "E1001"}
PAID = {"claim_id": "C1", "payment_id": "P1", "payee_id": "E1001", "amount": CNY}
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
