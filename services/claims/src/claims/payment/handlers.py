"""From an approval to the money: asked for, settled, failed, asked for again, stopped."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from chassis import Received, Tx
from events import ClaimId, Money, PaymentId
from events.workflow import ApprovalDecided, ApprovalRevoked
from msgspec import Struct

from claims.claim import handlers as claim_handlers
from claims.claim.domain import Move, Status
from claims.payment import store
from claims.payment.domain import Payment, PaymentNotFound, PaymentStatus, request_payment


async def on_approvals(tx: Tx, batch: Sequence[Received[Any]]) -> None:
    """Decisions and what takes them back, in their order; decisions that come together at once."""
    for kind, some in groupby(batch, key=lambda one: type(one.event)):
        if kind is ApprovalDecided:
            await _decide(tx, list(some))
            continue
        for one in some:
            with tx.caused_by(one.origin):
                await _revoke(tx, one.event)


async def _decide(tx: Tx, decisions: Sequence[Received[ApprovalDecided]]) -> None:
    """Decide the claims; for those that are payable now ask for the money at once."""
    decided = await claim_handlers.decide_claims(tx, decisions)
    payable = [(claim, origin) for claim, origin in decided if claim.status is Status.PAYING]
    again = [claim.id for claim, _ in payable if claim.revision > 1]
    attempts = await store.last_attempts(tx, again) if again else {}
    made = [
        (*request_payment(claim, tx.now, attempt=attempts.get(claim.id, 0) + 1), origin)
        for claim, origin in payable
    ]
    if made:
        await store.add_payments(tx, [payment for payment, _, _ in made])
    for _, requested, origin in made:
        tx.emit(requested, origin=origin)


async def _revoke(tx: Tx, event: ApprovalRevoked) -> None:
    """Take the claim's approval back, and stop its payment if the money has not left."""
    await store.lock_payments(tx, ClaimId(event.document_id))
    revoked = await claim_handlers.revoke_claim(tx, event)
    if revoked is None:
        return
    payment = await store.latest_payment(tx, revoked.claim_id)
    if payment is not None and payment.status is PaymentStatus.REQUESTED:
        stopped, fact = payment.stopped(event.reason, event.via, tx.now)
        await store.save_payment(tx, stopped)
        tx.emit(fact)


async def payments(
    tx: Tx, status: PaymentStatus | None, after: PaymentId | None, limit: int
) -> list[Payment]:
    """A page of payments, oldest request first."""
    return await store.payments(tx, status, after, limit)


async def latest_payment(tx: Tx, claim_id: ClaimId) -> Payment | None:
    return await store.latest_payment(tx, claim_id)


class Receipt(Struct, frozen=True):
    """That this much was paid, the bank's reference for it, and who says so."""

    amount: Money
    reference: str
    by: str


async def settle_payment(tx: Tx, id_: PaymentId, receipt: Receipt) -> Payment:
    """Record that the money was paid; the same receipt again changes nothing."""
    payment = await _payment(tx, id_)
    made = payment.settled(receipt.amount, receipt.reference, receipt.by, tx.now)
    if made is None:
        return payment
    settled, fact = made
    await claim_handlers.move_claim(tx, settled.claim_id, Move.SETTLE)
    await store.save_payment(tx, settled)
    tx.emit(fact)
    return settled


async def fail_payment(tx: Tx, id_: PaymentId, reason: str, by: str) -> Payment:
    """Record that the bank refused it."""
    failed, fact = (await _payment(tx, id_)).failed(reason, by, tx.now)
    await claim_handlers.move_claim(tx, failed.claim_id, Move.FAIL)
    await store.save_payment(tx, failed)
    tx.emit(fact)
    return failed


async def retry_payment(tx: Tx, id_: PaymentId) -> Payment:
    """Ask for the money of a failed payment again, as a new attempt."""
    failed = await _payment(tx, id_)
    claim = await claim_handlers.move_claim(tx, failed.claim_id, Move.REQUEST_PAYMENT)
    last = (await store.last_attempts(tx, [claim.id]))[claim.id]
    payment, requested = failed.retried(claim, tx.now, attempt=last + 1)
    await store.add_payments(tx, [payment])
    tx.emit(requested)
    return payment


async def _payment(tx: Tx, id_: PaymentId) -> Payment:
    payment = await store.payment_for_change(tx, id_)
    if payment is None:
        raise PaymentNotFound
    return payment
