"""All SQL of payments."""

from collections.abc import Sequence

from asyncpg import Record
from chassis import Tx
from events import ClaimId, EmployeeId, PaymentId

from claims.payment.domain import Payment, PaymentStatus
from claims.policy.domain import exact

_PAYMENT = """
SELECT id, claim_id, revision, attempt, payee_id, amount, currency, status, receipt, failure,
       stop_reason, requested_at, closed_at, closed_by
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


async def last_attempts(tx: Tx, claims: Sequence[ClaimId]) -> dict[ClaimId, int]:
    """The number of the last attempt to pay each claim that there was one of."""
    rows = await tx.fetch(
        "SELECT claim_id, max(attempt) AS attempt FROM payment WHERE claim_id = ANY ($1)"
        " GROUP BY claim_id",
        claims,
    )
    return {ClaimId(row["claim_id"]): row["attempt"] for row in rows}


async def lock_payments(tx: Tx, claim_id: ClaimId) -> None:
    """Let no payment of the claim move until the end; taken before the claim, as a settle does."""
    await tx.execute("SELECT FROM payment WHERE claim_id = $1 ORDER BY id FOR UPDATE", claim_id)


async def add_payments(tx: Tx, payments: Sequence[Payment]) -> None:
    """Add each for the amount that was approved.

    The database refuses a second one of a claim that stands, and more than was approved.
    """
    await tx.execute(
        "INSERT INTO payment (id, claim_id, revision, attempt, payee_id, amount, currency, status,"
        " requested_at, approved_amount)"
        " SELECT p.*, c.total FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[],"
        " $5::text[], $6::numeric[], $7::text[], $8::text[], $9::timestamptz[]) AS p (id, claim_id,"
        " revision, attempt, payee_id, amount, currency, status, requested_at)"
        " JOIN claim c ON c.id = p.claim_id",
        [payment.id for payment in payments],
        [payment.claim_id for payment in payments],
        [payment.revision for payment in payments],
        [payment.attempt for payment in payments],
        [payment.payee_id for payment in payments],
        [payment.amount.amount for payment in payments],
        [payment.amount.currency for payment in payments],
        [payment.status for payment in payments],
        [payment.requested_at for payment in payments],
    )


async def save_payment(tx: Tx, payment: Payment) -> None:
    await tx.execute(
        "UPDATE payment SET status = $2, receipt = $3, failure = $4, stop_reason = $5,"
        " closed_at = $6, closed_by = $7 WHERE id = $1",
        *(payment.id, payment.status, payment.receipt, payment.failure, payment.stop_reason),
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
        stop_reason=row["stop_reason"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
    )
