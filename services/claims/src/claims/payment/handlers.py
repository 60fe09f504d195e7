"""From an approval to the money: asked for, settled, failed, asked for again."""

from dataclasses import dataclass

from chassis import Tx
from events import ClaimId, Money, PaymentId
from events.workflow import ApprovalDecided

from claims.claim import handlers as claim_handlers
from claims.claim.domain import Move, Status
from claims.payment import store
from claims.payment.domain import Payment, PaymentNotFound, PaymentStatus, request_payment


async def on_approval_decided(tx: Tx, event: ApprovalDecided) -> None:
    """Decide the claim; if that makes it payable, ask for its money in the same transaction."""
    claim = await claim_handlers.decide_claim(tx, event)
    if claim is None or claim.status is not Status.PAYING:
        return
    payment, requested = request_payment(claim, tx.now)
    await store.add_payment(tx, payment, claim.total)
    tx.emit(requested)


async def payments(
    tx: Tx, status: PaymentStatus | None, after: PaymentId | None, limit: int
) -> list[Payment]:
    """A page of payments, oldest request first."""
    return await store.payments(tx, status, after, limit)


async def latest_payment(tx: Tx, claim_id: ClaimId) -> Payment | None:
    return await store.latest_payment(tx, claim_id)


@dataclass(frozen=True, slots=True)
class Receipt:
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
    payment, requested = failed.retried(claim, tx.now)
    await store.add_payment(tx, payment, claim.total)
    tx.emit(requested)
    return payment


async def _payment(tx: Tx, id_: PaymentId) -> Payment:
    payment = await store.payment_for_change(tx, id_)
    if payment is None:
        raise PaymentNotFound
    return payment
