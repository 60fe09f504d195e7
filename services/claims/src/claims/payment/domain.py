"""One claim's money: asked for after approval, settled once or failed, and then asked for again."""

import hashlib
import json
from datetime import datetime
from enum import StrEnum

from events import ClaimId, EmployeeId, Money, PaymentId
from events.claims import PaymentFailed, PaymentRequested, PaymentSettled, PaymentStopped
from msgspec import Struct
from msgspec.structs import replace

from claims.claim.domain import Claim
from claims.policy.domain import said


class PaymentStatus(StrEnum):
    """Where a payment stands; only a requested one can move."""

    REQUESTED = "requested"
    SETTLED = "settled"
    FAILED = "failed"
    STOPPED = "stopped"


class PaymentNotFound(Exception):
    """There is no payment of this id."""


class AmountDiffers(Exception):
    """Another amount than the approved one is said to be paid."""

    def __init__(self, paid: Money, approved: Money) -> None:
        super().__init__(f"{said(paid)} for {said(approved)}")
        self.paid = said(paid)
        self.approved = said(approved)


class AlreadySettled(Exception):
    """The money has been paid against another receipt."""

    def __init__(self, receipt: str) -> None:
        super().__init__(receipt)
        self.receipt = receipt


class PaymentHalted(Exception):
    """The approval behind the payment was taken back: it must not be made."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PaymentClosed(Exception):
    """The payment is not in the state that this needs."""

    def __init__(self, status: PaymentStatus, needed: PaymentStatus) -> None:
        super().__init__(f"{status}, not {needed}")
        self.payment_status = status.value
        self.needed = needed.value


class Payment(Struct, frozen=True):
    """One attempt to pay a claim, counted over all its revisions.

    A failed or stopped attempt stays so; a retry is a new one.
    """

    id: PaymentId
    claim_id: ClaimId
    revision: int
    attempt: int
    payee_id: EmployeeId
    amount: Money
    status: PaymentStatus
    requested_at: datetime
    receipt: str | None = None
    failure: str | None = None
    stop_reason: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None

    def settled(
        self, amount: Money, receipt: str, by: str, now: datetime
    ) -> tuple["Payment", PaymentSettled] | None:
        """The money has been paid; None when this very receipt is known already.

        Raises:
            AmountDiffers, AlreadySettled, PaymentHalted, PaymentClosed: nothing changes.
        """
        if amount != self.amount:
            raise AmountDiffers(amount, self.amount)
        if self.status is PaymentStatus.SETTLED and self.receipt != receipt:
            raise AlreadySettled(str(self.receipt))
        if self.status is PaymentStatus.SETTLED:
            return None
        if self.status is PaymentStatus.STOPPED:
            raise PaymentHalted(str(self.stop_reason))
        self._needs(PaymentStatus.REQUESTED)
        fact = PaymentSettled(
            claim_id=self.claim_id,
            payment_id=self.id,
            payee_id=self.payee_id,
            amount=self.amount,
            receipt=receipt,
            settled_at=now,
        )
        after = replace(
            self, status=PaymentStatus.SETTLED, receipt=receipt, closed_at=now, closed_by=by
        )
        return after, fact

    def failed(self, reason: str, by: str, now: datetime) -> tuple["Payment", PaymentFailed]:
        """The bank refused it; no money moved."""
        self._needs(PaymentStatus.REQUESTED)
        fact = PaymentFailed(
            claim_id=self.claim_id,
            payment_id=self.id,
            payee_id=self.payee_id,
            amount=self.amount,
            reason=reason,
            failed_at=now,
        )
        after = replace(
            self, status=PaymentStatus.FAILED, failure=reason, closed_at=now, closed_by=by
        )
        return after, fact

    def stopped(self, reason: str, by: str, now: datetime) -> tuple["Payment", PaymentStopped]:
        """It must not be made any more; `by`: the system in which the approval was taken back."""
        self._needs(PaymentStatus.REQUESTED)
        fact = PaymentStopped(
            claim_id=self.claim_id,
            payment_id=self.id,
            payee_id=self.payee_id,
            amount=self.amount,
            reason=reason,
            stopped_at=now,
        )
        after = replace(
            self, status=PaymentStatus.STOPPED, stop_reason=reason, closed_at=now, closed_by=by
        )
        return after, fact

    def retried(
        self, claim: Claim, now: datetime, *, attempt: int
    ) -> tuple["Payment", PaymentRequested]:
        """A new attempt with an id of its own, since a bank refuses an id that it has failed."""
        self._needs(PaymentStatus.FAILED)
        return request_payment(claim, now, attempt=attempt)

    def _needs(self, status: PaymentStatus) -> None:
        if self.status is not status:
            raise PaymentClosed(self.status, status)


def request_payment(
    claim: Claim, now: datetime, *, attempt: int = 1
) -> tuple[Payment, PaymentRequested]:
    """Ask for the money of an approved claim."""
    payment = Payment(
        id=payment_id(claim, attempt),
        claim_id=claim.id,
        revision=claim.revision,
        attempt=attempt,
        payee_id=claim.employee_id,
        amount=claim.total,
        status=PaymentStatus.REQUESTED,
        requested_at=now,
    )
    fact = PaymentRequested(
        claim_id=payment.claim_id,
        revision=payment.revision,
        payment_id=payment.id,
        payee_id=payment.payee_id,
        amount=payment.amount,
        requested_at=now,
    )
    return payment, fact


def payment_id(claim: Claim, attempt: int) -> PaymentId:
    """The id bound to claim, revision, payee, amount and attempt: the same ones, the same id.

    The first 32 hex digits of the SHA-256 of the JSON array `[claim, revision, payee, amount,
    currency, attempt]` without spaces: an ISO 20022 end-to-end id holds 35 characters.
    """
    bound = [
        claim.id,
        claim.revision,
        claim.employee_id,
        f"{claim.total.amount:f}",
        claim.total.currency,
        attempt,
    ]
    text = json.dumps(bound, separators=(",", ":"), ensure_ascii=False)
    return PaymentId(hashlib.sha256(text.encode()).hexdigest()[:32])
