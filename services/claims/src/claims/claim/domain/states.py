"""Where a claim can stand, and what may follow what."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Where a claim stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    WITHDRAWN = "withdrawn"
    RETURNED = "returned"
    REJECTED = "rejected"
    APPROVED = "approved"
    PAYING = "paying"
    PAID = "paid"
    FAILED = "failed"
    REVOKED = "revoked"  # the approval was taken back before any money moved
    RECOVERING = "recovering"  # it was taken back after the payment: finance recovers the money


class Move(StrEnum):
    """What can be done with a claim."""

    EDIT = "edit"
    SUBMIT = "submit"
    WITHDRAW = "withdraw"
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"
    REQUEST_PAYMENT = "request_payment"
    SETTLE = "settle"
    FAIL = "fail"
    REVOKE = "revoke"


# The whole state machine: a pair that is not here is refused.
NEXT: Mapping[tuple[Status, Move], Status] = {
    (Status.DRAFT, Move.EDIT): Status.DRAFT,
    (Status.DRAFT, Move.SUBMIT): Status.SUBMITTED,
    (Status.WITHDRAWN, Move.EDIT): Status.WITHDRAWN,
    (Status.WITHDRAWN, Move.SUBMIT): Status.SUBMITTED,
    (Status.RETURNED, Move.EDIT): Status.RETURNED,
    (Status.RETURNED, Move.SUBMIT): Status.SUBMITTED,
    (Status.REVOKED, Move.EDIT): Status.REVOKED,
    (Status.REVOKED, Move.SUBMIT): Status.SUBMITTED,
    (Status.SUBMITTED, Move.WITHDRAW): Status.WITHDRAWN,
    (Status.SUBMITTED, Move.APPROVE): Status.APPROVED,
    (Status.SUBMITTED, Move.RETURN): Status.RETURNED,
    (Status.SUBMITTED, Move.REJECT): Status.REJECTED,
    (Status.APPROVED, Move.REQUEST_PAYMENT): Status.PAYING,
    (Status.FAILED, Move.REQUEST_PAYMENT): Status.PAYING,
    (Status.PAYING, Move.SETTLE): Status.PAID,
    (Status.PAYING, Move.FAIL): Status.FAILED,
    (Status.PAYING, Move.REVOKE): Status.REVOKED,
    (Status.FAILED, Move.REVOKE): Status.REVOKED,
    (Status.PAID, Move.REVOKE): Status.RECOVERING,
}
OWNERS_MOVES = (Move.EDIT, Move.SUBMIT, Move.WITHDRAW)
STATUS_ZH: Mapping[Status, str] = {
    Status.DRAFT: "草稿",
    Status.SUBMITTED: "审批中",
    Status.WITHDRAWN: "已撤回",
    Status.RETURNED: "已退回",
    Status.REJECTED: "已驳回",
    Status.APPROVED: "已批准",
    Status.PAYING: "待打款",
    Status.PAID: "已打款",
    Status.FAILED: "打款失败",
    Status.REVOKED: "批准已撤销",
    Status.RECOVERING: "待追回",
}


class MoveNotAllowed(Exception):
    """The claim's status does not allow this."""

    def __init__(self, status: Status, move: Move) -> None:
        super().__init__(f"{move} while {status}")
        self.claim_status = status.value
        self.status_zh = STATUS_ZH[status]
        self.move = move.value
