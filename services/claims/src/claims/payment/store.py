"""All SQL of payments."""

from asyncpg import Record
from chassis import Tx
from events import ClaimId, EmployeeId, Money, PaymentId

from claims.payment.domain import Payment, PaymentStatus
from claims.policy.domain import exact

_PAYMENT = """
SELECT id, claim_id, revision, attempt, payee_id, amount, currency, status, receipt, failure,
       requested_at, closed_at, closed_by
  FROM payment
"""
_PAGE = """
 WHERE ($1::text IS NULL OR status = $1)
   AND ($2::text IS NULL
        OR (requested_at, id) > (SELECT p.requested_at, p.id FROM payment p WHERE p.id = $2))
 ORDER BY requested_at, id LIMIT $3
"""


async def payment_for_change(tx: Tx, id_: PaymentId) -> Payment | None:
    """The payment, its row locked until the end: two receipts cannot both settle it."""
    row = await tx.fetchrow(_PAYMENT + " WHERE id = $1 FOR UPDATE", id_)
    return None if row is None else _payment(row)


async def latest_payment(tx: Tx, claim_id: ClaimId) -> Payment | None:
    """The last attempt to pay this claim."""
    row = await tx.fetchrow(
        _PAYMENT + " WHERE claim_id = $1 ORDER BY attempt DESC LIMIT 1", claim_id
    )
    return None if row is None else _payment(row)


async def payments(
    tx: Tx, status: PaymentStatus | None, after: PaymentId | None, limit: int
) -> list[Payment]:
    """A page of payments, oldest request first, later than `after`."""
    rows = await tx.fetch(_PAYMENT + _PAGE, status, after, limit)
    return [_payment(row) for row in rows]


async def add_payment(tx: Tx, payment: Payment, approved: Money) -> None:
    """The database refuses a second live attempt, and more than was approved."""
    await tx.execute(
        "INSERT INTO payment (id, claim_id, revision, attempt, payee_id, amount, currency,"
        " approved_amount, status, requested_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        *(payment.id, payment.claim_id, payment.revision, payment.attempt, payment.payee_id),
        *(payment.amount.amount, payment.amount.currency, approved.amount),
        *(payment.status, payment.requested_at),
    )


async def save_payment(tx: Tx, payment: Payment) -> None:
    await tx.execute(
        "UPDATE payment SET status = $2, receipt = $3, failure = $4, closed_at = $5, closed_by = $6"
        " WHERE id = $1",
        *(payment.id, payment.status, payment.receipt, payment.failure),
        *(payment.closed_at, payment.closed_by),
    )


def _payment(row: Record) -> Payment:
    return Payment(
        id=PaymentId(row["id"]),
        claim_id=ClaimId(row["claim_id"]),
        revision=row["revision"],
        attempt=row["attempt"],
        payee_id=EmployeeId(row["payee_id"]),
        amount=exact(row["amount"], row["currency"]),
        status=PaymentStatus(row["status"]),
        requested_at=row["requested_at"],
        receipt=row["receipt"],
        failure=row["failure"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
    )
