"""Decisions, races and constraints on a real PostgreSQL."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest
from chassis import Database, Received, Reject, Retry, Tx
from chassis.testing import until_one_waits_for_a_lock
from chassis.together import Asked
from claims.claim import handlers as claim_handlers
from claims.claim import store as claim_store
from claims.claim.domain import Claim, ClaimChanged, Draft, MoveNotAllowed, Status
from claims.claim.handlers import HandIn
from claims.payment import handlers, store
from claims.payment.domain import Payment, PaymentHalted, PaymentStatus, request_payment
from claims.policy import handlers as policy_handlers
from claims.policy.domain import Line, exact, parse_limits
from claims.timeline import handlers as timeline_handlers
from events import ClaimId, DocumentId, EmployeeId, Envelope, Event, EventId
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimWithdrawn,
    PaymentRequested,
    PaymentStopped,
)
from events.notices import ChannelName, NoticeSent
from events.workflow import ApprovalDecided, ApprovalRevoked, DocumentKind, Outcome
from msgspec.structs import replace
from uuid_utils.compat import uuid7

OWNER = EmployeeId("E1001")
LINE = Line(1, "meal", date(2026, 11, 20), "上海", exact(Decimal(120), "CNY"))


@pytest.fixture
async def claim(database: Database) -> Claim:
    """A claim that waits for its decision."""
    async with database.transaction() as tx:
        draft = await claim_handlers.draft_claim(tx, OWNER, Draft("上海", (LINE,)))
        asked = Asked(HandIn(OWNER, draft.id), tx.origin)
        (claim,) = await claim_handlers.submit_claims(tx, [asked])
        return claim


def a_decision(claim: Claim, **changed) -> ApprovalDecided:
    decision = ApprovalDecided(
        document_id=DocumentId(claim.id),
        document_kind=DocumentKind.CLAIM,
        revision=claim.revision,
        outcome=Outcome.APPROVED,
        content_hash=claim.content_hash,
        decided_at=claim.changed_at,
    )
    return decision.model_copy(update=changed)


async def decide(tx: Tx, *events: Event) -> None:
    """Let these take effect as one batch."""
    batch = [
        received(event, offset=n, correlation_id=event.key, at=tx.now)
        for n, event in enumerate(events)
    ]
    await handlers.on_approvals(tx, batch)


async def current(database: Database, claim: Claim) -> Claim:
    async with database.transaction() as tx:
        return await claim_handlers.readable_claim(tx, claim.id, None)


async def test_approval_and_the_request_for_payment_are_one_transaction(database, claim) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
        approved, requested = tx.emitted
    assert isinstance(approved, ClaimApproved)
    assert isinstance(requested, PaymentRequested)
    assert (requested.payee_id, requested.amount) == (OWNER, claim.total)
    async with database.transaction() as tx:
        payment = await store.latest_payment(tx, claim.id)
    assert payment is not None
    assert payment.id == requested.payment_id
    assert (await current(database, claim)).status is Status.PAYING


@pytest.mark.parametrize(
    "changed",
    [
        {"content_hash": "0" * 64},
        {"revision": 2},
        {"outcome": Outcome.UNKNOWN},
        {"document_id": "019ac0d2-7c1e-7b3a-9f5e-2d4b6a8c0e11"},
    ],
)
async def test_decision_about_something_else_is_rejected_and_pays_nothing(
    database, claim, changed
) -> None:
    with pytest.raises(Reject):
        async with database.transaction() as tx:
            await decide(tx, a_decision(claim, **changed))
    assert await current(database, claim) == claim
    async with database.transaction() as tx:
        assert await store.latest_payment(tx, claim.id) is None


async def test_second_decision_is_rejected(database, claim) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
    with pytest.raises(Reject, match="paying"):
        async with database.transaction() as tx:
            await decide(tx, a_decision(claim, outcome=Outcome.REJECTED))


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.RETURNED, Status.RETURNED), (Outcome.REJECTED, Status.REJECTED)],
)
async def test_claim_that_is_not_approved_asks_for_no_money(
    database, claim, outcome, status
) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim, outcome=outcome))
        (fact,) = tx.emitted
    assert f"claim.{status}.v1" == fact.TYPE
    assert (await current(database, claim)).status is status


async def test_decision_on_another_kind_of_document_is_not_ours(database, claim) -> None:
    async with database.transaction() as tx:
        decision = a_decision(claim, document_kind=DocumentKind.UNKNOWN)
        await decide(tx, decision)
        assert tx.emitted == ()


async def test_decision_after_a_withdrawal_has_no_effect_and_parks_nothing(database, claim) -> None:
    async with database.transaction() as tx:
        await claim_handlers.withdraw_claim(tx, OWNER, claim.id)
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
        assert tx.emitted == ()
    assert (await current(database, claim)).status is Status.WITHDRAWN


async def withdraw(database: Database, claim: Claim) -> Sequence[Event]:
    async with database.transaction() as tx:
        await claim_handlers.withdraw_claim(tx, OWNER, claim.id)
        return tx.emitted


async def approve(database: Database, claim: Claim) -> Sequence[Event]:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
        return tx.emitted


@pytest.mark.parametrize("first", [withdraw, approve])
async def test_of_an_approval_and_a_withdrawal_at_once_the_first_to_write_wins(
    database, claim, first
) -> None:
    second = approve if first is withdraw else withdraw
    async with database.transaction() as tx:
        if first is withdraw:
            await claim_handlers.withdraw_claim(tx, OWNER, claim.id)
        else:
            await decide(tx, a_decision(claim))
        late = asyncio.ensure_future(second(database, claim))
        await until_one_waits_for_a_lock(database)
    with pytest.raises((ClaimChanged, Retry)):
        await late
    # Asked again, as a person or the consumer does, it sees how the other one ended.
    if first is withdraw:
        assert await approve(database, claim) == ()
    else:
        with pytest.raises(MoveNotAllowed):
            await withdraw(database, claim)


async def test_many_approvals_and_withdrawals_at_once_have_one_winner(database, claim) -> None:
    results = await asyncio.gather(
        *(act(database, claim) for act in (withdraw, approve) * 2), return_exceptions=True
    )
    facts = [fact for result in results if isinstance(result, tuple) for fact in result]
    winners = [fact for fact in facts if isinstance(fact, ClaimWithdrawn | ClaimApproved)]
    assert len(winners) == 1
    refused = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(r, ClaimChanged | Retry | Reject | MoveNotAllowed) for r in refused)


async def test_database_refuses_a_second_live_payment_of_a_claim(database, claim) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
    second, _ = request_payment(claim, claim.changed_at, attempt=2)
    with pytest.raises(asyncpg.UniqueViolationError, match="payment_standing"):
        async with database.transaction() as tx:
            await store.add_payments(tx, [second])


async def test_database_refuses_a_payment_above_what_was_approved(database, claim) -> None:
    payment, _ = request_payment(claim, claim.changed_at)
    with pytest.raises(asyncpg.CheckViolationError, match="payment_within_approval"):
        async with database.transaction() as tx:
            await store.add_payments(tx, [replace(payment, amount=exact(Decimal("120.01"), "CNY"))])


async def test_two_receipts_at_once_settle_once(database, claim) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
        payment = await store.latest_payment(tx, claim.id)

    async def settle(reference: str) -> Sequence[Event]:
        async with database.transaction() as tx:
            receipt = handlers.Receipt(claim.total, reference, "erp")
            await handlers.settle_payment(tx, payment.id, receipt)
            return tx.emitted

    results = await asyncio.gather(settle("R-1"), settle("R-2"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlreadySettled", "tuple"]


def a_revocation(claim: Claim) -> ApprovalRevoked:
    return ApprovalRevoked(
        document_id=DocumentId(claim.id),
        document_kind=DocumentKind.CLAIM,
        revision=claim.revision,
        via="flowable",
        reason="重复报销",
        revoked_at=claim.changed_at,
    )


async def test_approval_and_its_being_taken_back_in_one_batch_leave_nothing_to_pay(
    database, claim
) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim), a_revocation(claim))
        told = [type(fact) for fact in tx.emitted]
        payment = await store.latest_payment(tx, claim.id)
    assert told == [ClaimApproved, PaymentRequested, ClaimApprovalRevoked, PaymentStopped]
    assert payment is not None
    assert payment.status is PaymentStatus.STOPPED
    assert (await current(database, claim)).status is Status.REVOKED


async def test_settlement_and_taking_back_at_once_agree_on_who_came_first(database, claim) -> None:
    for revision in range(1, 6):
        async with database.transaction() as tx:
            await decide(tx, a_decision(claim))
            payment = await store.latest_payment(tx, claim.id)
        assert payment is not None
        assert (payment.revision, payment.attempt) == (revision, revision)
        settled, revoked = await asyncio.gather(
            settle(database, payment, f"R-{revision}"), take_back(database, claim)
        )
        claim = await current(database, claim)
        told = next(fact for fact in revoked if isinstance(fact, ClaimApprovalRevoked))
        if settled:
            assert (claim.status, told.to_recover) == (Status.RECOVERING, claim.total)
            return
        assert (claim.status, told.to_recover) == (Status.REVOKED, None)
        async with database.transaction() as tx:
            (claim,) = await claim_handlers.submit_claims(
                tx, [Asked(HandIn(OWNER, claim.id), tx.origin)]
            )


async def settle(database: Database, payment: Payment, reference: str) -> Sequence[Event]:
    """What a settlement says; nothing if the payment had been stopped before."""
    try:
        async with database.transaction() as tx:
            receipt = handlers.Receipt(payment.amount, reference, "erp")
            await handlers.settle_payment(tx, payment.id, receipt)
            return tx.emitted
    except PaymentHalted:
        return ()


async def take_back(database: Database, claim: Claim) -> Sequence[Event]:
    while True:
        try:
            async with database.transaction() as tx:
                await decide(tx, a_revocation(claim))
                return tx.emitted
        except Retry:  # as the consumer does
            continue


async def test_decisions_of_one_batch_are_saved_together_each_with_its_origin(database) -> None:
    claims = []
    async with database.transaction() as tx:
        for _ in range(20):
            draft = await claim_handlers.draft_claim(tx, OWNER, Draft("上海", (LINE,)))
            asked = Asked(HandIn(OWNER, draft.id), tx.origin)
            claims += await claim_handlers.submit_claims(tx, [asked])
    async with database.transaction() as tx:
        await decide(tx, *(a_decision(claim) for claim in claims))
    async with database.transaction() as tx:
        rows = await tx.fetch("SELECT key, headers FROM outbox WHERE type = 'payment.requested.v1'")
    assert {row["key"] for row in rows} == {claim.id for claim in claims}
    assert {json.loads(row["headers"])["ce_correlationid"] for row in rows} == {
        claim.id for claim in claims
    }


async def test_two_decisions_of_one_claim_in_a_batch_are_refused_as_one_by_one(
    database, claim
) -> None:
    with pytest.raises(Reject, match="paying"):
        async with database.transaction() as tx:
            await decide(tx, a_decision(claim), a_decision(claim, outcome=Outcome.REJECTED))
    assert await current(database, claim) == claim


async def test_retry_of_any_failed_attempt_is_the_next_one(database, claim) -> None:
    async with database.transaction() as tx:
        await decide(tx, a_decision(claim))
        first = await store.latest_payment(tx, claim.id)
    for attempt in (2, 3):
        async with database.transaction() as tx:
            last = await store.latest_payment(tx, claim.id)
            await handlers.fail_payment(tx, last.id, "账号不符", "bank")
            again = await handlers.retry_payment(tx, first.id)
        assert again.attempt == attempt


async def test_import_makes_the_rules_those_of_the_file(database) -> None:
    rules = parse_limits(
        '- {id: a, category: meal, limit: {amount: "1", currency: CNY}, severity: warn,'
        " effective_from: 2026-01-01, effective_to: 2026-06-01}"
    )
    for _ in range(2):
        async with database.transaction() as tx:
            await policy_handlers.import_limits(tx, rules)
            assert await policy_handlers.limits(tx) == list(rules)


async def test_processes_that_start_together_import_one_after_the_other(database) -> None:
    async def start() -> None:
        async with database.transaction() as tx:
            await policy_handlers.import_limits(tx, rules)

    async with database.transaction() as tx:
        rules = await policy_handlers.limits(tx)
    await asyncio.gather(*(start() for _ in range(4)))
    async with database.transaction() as tx:
        assert await policy_handlers.limits(tx) == rules


def received(event: Event, *, offset: int, correlation_id: str, at: datetime) -> Received[Event]:
    id_ = EventId(UUID(str(uuid7())))
    envelope = Envelope(id=id_, time=at, sequence=1, correlation_id=correlation_id, event=event)
    return Received(event.TOPIC.name, 3, offset, envelope)


async def test_timeline_keeps_each_event_of_the_road_once_with_its_place(database, claim) -> None:
    at = datetime(2026, 11, 24, 10, tzinfo=UTC)
    told = NoticeSent(
        recipient_id=OWNER,
        notice_id="n-1",
        document_id=DocumentId(claim.id),
        template="claim_approved",
        channel=ChannelName.IN_APP,
        sent_at=at,
    )
    batch = [
        received(told, offset=8, correlation_id=claim.id, at=at.replace(hour=11)),
        received(a_decision(claim), offset=7, correlation_id=claim.id, at=at),
        received(told, offset=9, correlation_id="another", at=at),
    ]
    for _ in range(2):
        async with database.transaction() as tx:
            await timeline_handlers.record(tx, batch)
    async with database.transaction() as tx:
        first, second = await timeline_handlers.timeline(tx, claim.id, OWNER)
    assert (first.topic, first.partition, first.offset) == ("workflow.approval.v1", 3, 7)
    assert (first.zh, first.en) == ("审批结束：通过", "Approval ended: approved")
    assert (second.zh, second.system) == ("已通知 E1001（站内）", "notifier")


async def test_edit_during_a_submit_is_not_mixed_into_it(database, claim) -> None:
    async with database.transaction() as tx:
        draft = await claim_handlers.draft_claim(
            tx, OWNER, Draft("上海", (LINE, replace(LINE, line_no=2)))
        )
        seen = await claim_store.claim(tx, draft.id, OWNER)
    async with database.transaction() as tx:
        await claim_handlers.edit_claim(tx, OWNER, draft.id, 1, Draft("改", (LINE,)))
    assert seen is not None
    submitted, _ = seen.submitted((), seen.changed_at)
    async with database.transaction() as tx:
        assert not await claim_store.save_status(tx, seen, submitted)
        assert not await claim_store.save_draft(tx, seen, seen)
    assert len((await current(database, draft)).lines) == 1


async def test_claim_of_another_person_is_not_found_by_its_id(database, claim) -> None:
    async with database.transaction() as tx:
        assert await claim_store.claim(tx, claim.id, EmployeeId("E1002")) is None
        assert await claim_store.claim(tx, ClaimId("x"), OWNER) is None
