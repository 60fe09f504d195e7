"""Payments over HTTP, for finance: a person at a desk or the company's finance system."""

from datetime import datetime
from typing import Annotated

from chassis import Tx
from chassis.auth import Me, needs
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, Refusal, Text
from events import ClaimId, EmployeeId, Money, PaymentId
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from claims.claim.api import MoneyIn, ShortWords
from claims.payment import handlers
from claims.payment.domain import (
    AlreadySettled,
    AmountDiffers,
    Payment,
    PaymentClosed,
    PaymentHalted,
    PaymentNotFound,
    PaymentStatus,
)

REFUSALS: dict[type[Exception], Refusal] = {
    PaymentNotFound: NOT_FOUND,
    AmountDiffers: Refusal(
        422,
        "amount-differs",
        Text(
            "amount 须等于批准金额 {approved}，收到 {paid}；请核对后按批准金额打款。",
            "amount must equal the approved {approved}, got {paid}; check what was really paid.",
        ),
    ),
    AlreadySettled: Refusal(
        409,
        "already-settled",
        Text(
            "这笔款项已凭回单 {receipt} 打款；请勿重复打款，如确已重付请追回。",
            "This was paid against receipt {receipt}; do not pay again, recover a second payment.",
        ),
    ),
    PaymentHalted: Refusal(
        409,
        "payment-stopped",
        Text(
            "批准已撤销（{reason}），这笔款项不得再付；如已付出，请向收款人追回。",
            "The approval was taken back ({reason}): do not pay; if it was paid, recover it.",
        ),
    ),
    PaymentClosed: Refusal(
        409,
        "payment-closed",
        Text(
            "打款当前状态为 {payment_status}，此操作要求 {needed}；请查看该报销单最新的打款。",
            "The payment is {payment_status}, this needs {needed}; see the claim's latest payment.",
        ),
    ),
}
router = APIRouter(prefix="/api/payments")
_FINANCE = [needs("finance")]


async def _payment_id(payment_id: str) -> PaymentId:
    if len(payment_id) != 32 or not payment_id.isalnum():  # noqa: PLR2004 -- see domain.payment_id
        raise PaymentNotFound
    return PaymentId(payment_id)


PaymentIdInPath = Annotated[PaymentId, Depends(_payment_id)]


class SettleIn(BaseModel):
    """`receipt`: the bank's or the finance system's reference of what was paid."""

    model_config = ConfigDict(extra="forbid")

    receipt: ShortWords
    amount: MoneyIn


class FailIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: ShortWords


class PaymentOut(BaseModel):
    """One attempt to pay a claim."""

    model_config = ConfigDict(from_attributes=True)

    id: PaymentId
    claim_id: ClaimId
    revision: int
    attempt: int
    payee_id: EmployeeId
    amount: Money
    status: PaymentStatus
    receipt: str | None
    failure: str | None
    stop_reason: str | None
    requested_at: datetime
    closed_at: datetime | None
    closed_by: str | None

    @classmethod
    def of(cls, payment: Payment) -> "PaymentOut":
        return cls.model_validate(payment)


class PaymentPage(BaseModel):
    """Oldest request first; `next` is what to send as `after`, null on the last page."""

    items: list[PaymentOut]
    next: PaymentId | None


@router.get("", dependencies=[needs("finance", "auditor", "admin")])
async def payments(
    database: Db,
    status: PaymentStatus | None = None,
    after: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> PaymentPage:
    """What is to be paid, or was."""
    async with database.transaction() as tx:
        found = await handlers.payments(tx, status, PaymentId(after) if after else None, limit)
    items = [PaymentOut.of(payment) for payment in found]
    return PaymentPage(items=items, next=items[-1].id if len(items) == limit else None)


@router.post("/{payment_id}/settle", dependencies=_FINANCE)
async def settle_payment(
    payment_id: PaymentIdInPath, sent: SettleIn, me: Me, once: OncePerKey
) -> Response:
    """Say that the money was paid, once per Idempotency-Key."""
    receipt = handlers.Receipt(sent.amount.money, sent.receipt, me.subject)

    async def effect(tx: Tx) -> PaymentOut:
        return PaymentOut.of(await handlers.settle_payment(tx, payment_id, receipt))

    return await once(effect)


@router.post("/{payment_id}/fail", dependencies=_FINANCE)
async def fail_payment(
    payment_id: PaymentIdInPath, sent: FailIn, me: Me, database: Db
) -> PaymentOut:
    """Say that the bank refused it and no money moved."""
    async with database.transaction() as tx:
        return PaymentOut.of(await handlers.fail_payment(tx, payment_id, sent.reason, me.subject))


@router.post("/{payment_id}/retry", dependencies=_FINANCE)
async def retry_payment(payment_id: PaymentIdInPath, database: Db) -> PaymentOut:
    """Ask for the money of a failed payment again."""
    async with database.transaction() as tx:
        return PaymentOut.of(await handlers.retry_payment(tx, payment_id))
