"""Facts about expense claims and their payment. Owner: services/claims, the only writer."""

from datetime import date
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from events.event import Event
from events.ids import ClaimId, EmployeeId, PaymentId
from events.topic import Topic
from events.values import ContentHash, Money, OpenEnum, ShortText, Word

CLAIM = Topic(
    "claims.claim.v1",
    key="claim_id",
    owner="claims",
    readers=("claims", "notifier", "workflow"),
    summary="The life of an expense claim, from submission to the money on the account.",
    summary_zh="报销单的一生：从提交到款项到账。",
    retention=None,
    pii="free_text",
)


class Severity(OpenEnum):
    """How much a broken rule weighs."""

    WARN = "warn"  # may be handed in, with a reason
    BLOCK = "block"  # may not be handed in
    UNKNOWN = "UNKNOWN"


class Violation(BaseModel):
    """One rule that one line breaks, as the approver sees it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    line_no: int = Field(ge=1)
    rule_id: Word
    severity: Severity
    limit: Money | None = None
    reason: ShortText | None = None  # the employee's explanation; every warning needs one


class ExpenseLine(BaseModel):
    """One expense as handed in. Lines are numbered from 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    line_no: int = Field(ge=1)
    category: Word
    spent_on: date
    city: Word | None = None
    amount: Money


class ChosenApprovers(BaseModel):
    """Whom the submitter chose for a step of the approval, where its definition lets them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: Word = Field(description="the id of the step in the definition")
    approvers: tuple[EmployeeId, ...]


class ClaimSubmitted(Event):
    """An employee handed in a claim. Its lines are frozen until it is sent back."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.submitted.v1"
    SUMMARY_ZH: ClassVar[str] = "员工提交了报销单；退回之前明细不再改动。"

    claim_id: ClaimId
    revision: int = Field(ge=1, description="rises with each hand-in of the same claim")
    employee_id: EmployeeId
    title: ShortText
    lines: tuple[ExpenseLine, ...]
    violations: tuple[Violation, ...] = ()
    total: Money
    content_hash: ContentHash
    submitted_at: AwareDatetime
    cost_centre: Word | None = None  # None: the submitter's department bears it
    chosen_approvers: tuple[ChosenApprovers, ...] = ()


class ClaimWithdrawn(Event):
    """The employee took the claim back before it was decided."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.withdrawn.v1"
    SUMMARY_ZH: ClassVar[str] = "员工在审批结束前撤回了报销单。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    employee_id: EmployeeId
    withdrawn_at: AwareDatetime


class ClaimReturned(Event):
    """The claim went back to the employee, who may change it and hand it in again."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.returned.v1"
    SUMMARY_ZH: ClassVar[str] = "报销单被退回，员工可修改后重新提交。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    employee_id: EmployeeId
    returned_at: AwareDatetime


class ClaimRejected(Event):
    """The claim was refused for good."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.rejected.v1"
    SUMMARY_ZH: ClassVar[str] = "报销单被驳回，不可再提交。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    employee_id: EmployeeId
    rejected_at: AwareDatetime


class ClaimApproved(Event):
    """Every approver agreed to exactly this content."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.approved.v1"
    SUMMARY_ZH: ClassVar[str] = "全部审批人同意了这一份内容。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    employee_id: EmployeeId
    content_hash: ContentHash
    approved_at: AwareDatetime


class ClaimApprovalRevoked(Event):
    """The approval was taken back. Money that has left already must be recovered."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "claim.approval-revoked.v1"
    SUMMARY_ZH: ClassVar[str] = "批准被撤销；已付出的款项需要追回。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    employee_id: EmployeeId
    reason: ShortText
    to_recover: Money | None = None  # None: nothing had been paid
    revoked_at: AwareDatetime


class PaymentRequested(Event):
    """Money is to be paid. The payment id is bound to claim, revision, payee and amount."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "payment.requested.v1"
    SUMMARY_ZH: ClassVar[str] = "应当打款；打款编号与报销单、版次、收款人、金额绑定。"

    claim_id: ClaimId
    revision: int = Field(ge=1)
    payment_id: PaymentId
    payee_id: EmployeeId
    amount: Money
    requested_at: AwareDatetime


class PaymentSettled(Event):
    """The money has been paid, once, against the bank's receipt."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "payment.settled.v1"
    SUMMARY_ZH: ClassVar[str] = "款项已支付，仅此一次，凭银行回单。"

    claim_id: ClaimId
    payment_id: PaymentId
    payee_id: EmployeeId
    amount: Money
    receipt: ShortText = Field(description="the bank's or the finance system's reference")
    settled_at: AwareDatetime


class PaymentFailed(Event):
    """The bank or the finance system refused this payment; no money moved."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "payment.failed.v1"
    SUMMARY_ZH: ClassVar[str] = "银行或财务系统拒绝了这笔打款，款项未动。"

    claim_id: ClaimId
    payment_id: PaymentId
    payee_id: EmployeeId
    amount: Money
    reason: ShortText
    failed_at: AwareDatetime


class PaymentStopped(Event):
    """The payment must not be made any more; no money moved."""

    TOPIC: ClassVar[Topic] = CLAIM
    TYPE: ClassVar[str] = "payment.stopped.v1"
    SUMMARY_ZH: ClassVar[str] = "这笔打款不得再执行，款项未动。"

    claim_id: ClaimId
    payment_id: PaymentId
    payee_id: EmployeeId
    amount: Money
    reason: ShortText
    stopped_at: AwareDatetime
