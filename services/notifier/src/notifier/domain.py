"""Who is told what, how long to wait after a failure, and at which stage a claim is. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from events import ClaimId, DocumentId, EmployeeId, Event, NoticeId, TaskId
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    ClaimWithdrawn,
    PaymentFailed,
    PaymentRequested,
    PaymentSettled,
    PaymentStopped,
)
from events.notices import ChannelName
from events.workflow import ApprovalDecided, ApprovalTaskAssigned, ApprovalTaskDecided

ADMINISTRATOR = "admin"  # the role of those who are told when a road is blocked
FINANCE = "finance"  # the role of those who pay, and who recover what should not have been paid


class Template(StrEnum):
    """What is said: `templates/<name>.<language>.txt`."""

    APPROVAL_TASK = "approval_task"
    APPROVAL_OVERDUE = "approval_overdue"
    APPROVAL_URGED = "approval_urged"
    APPROVAL_COPY = "approval_copy"
    APPROVAL_COMMENT = "approval_comment"
    APPROVAL_REVOKED = "approval_revoked"
    CLAIM_RETURNED = "claim_returned"
    CLAIM_REJECTED = "claim_rejected"
    CLAIM_APPROVED = "claim_approved"
    PAYMENT_SETTLED = "payment_settled"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_STOPPED = "payment_stopped"
    OA_STUCK = "oa_stuck"
    OA_DRIFT = "oa_drift"
    OA_CONTRACT = "oa_contract"


@dataclass(frozen=True, slots=True)
class Employee:
    """A person who can be told something. `email` None: no address is known."""

    employee_id: EmployeeId
    is_active: bool
    email: str | None = None

    def reached_by(self, channel: ChannelName) -> bool:
        """A person who left is told nothing: the documents are no longer theirs to see."""
        return self.is_active and (channel is not ChannelName.EMAIL or self.email is not None)


@dataclass(frozen=True, slots=True)
class Document:
    """What a notice says about its document."""

    document_id: DocumentId
    revision: int
    employee_id: EmployeeId
    title: str
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Tidings:
    """What is to be told. `values` fill the template; a value `x_id` becomes a person's name `x`.

    `task_id`: the task that it asks somebody to do. Once that has ended, it asks no more.
    """

    template: Template
    document_id: DocumentId
    values: Mapping[str, str] = field(default_factory=dict)
    task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Tidings for one person by one channel."""

    recipient_id: EmployeeId
    channel: ChannelName
    tidings: Tidings


@dataclass(frozen=True, slots=True)
class Addressed:
    """A notice on its way, with what its template says of people. `email` None: not known."""

    notice_id: NoticeId
    recipient_id: EmployeeId
    document_id: DocumentId
    template: str
    language: str
    email: str | None
    is_active: bool
    values: Mapping[str, str]


def notices(
    tidings: Tidings, recipients: Iterable[Employee], channels: Collection[ChannelName]
) -> list[Notice]:
    """One notice for each recipient and each channel that reaches them."""
    return [
        Notice(person.employee_id, channel, tidings)
        for person in recipients
        for channel in channels
        if person.reached_by(channel)
    ]


def about(document_id: DocumentId, document: Document | None) -> dict[str, str]:
    """What every template may say; a document that is not known yet goes by its id."""
    if document is None:
        return {"title": document_id, "amount": "", "submitter_id": ""}
    return {
        "title": document.title,
        "amount": money_text(document.amount, document.currency),
        "submitter_id": document.employee_id,
    }


def money_text(amount: Decimal, currency: str) -> str:
    """`1,234.50 CNY`: as many decimals as the amount needs, and at least two."""
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    decimals = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{amount:,.{decimals}f} {currency}"


def pause_after(attempt: int, first: timedelta, longest: timedelta) -> timedelta:
    """How long to wait at most after this failed attempt, counted from 1: it doubles each time."""
    doubled: timedelta = first * (1 << min(attempt - 1, 30))
    return min(doubled, longest)


class Stage(StrEnum):
    """Where a claim is on its road, in the order of the road."""

    SUBMITTED = "submitted"  # handed in; nobody has been asked yet
    APPROVING = "approving"  # somebody has been asked to decide
    PAYING = "paying"  # approved; the money has not arrived
    PAID = "paid"
    RETURNED = "returned"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"  # approved, and the approval taken back; what was paid is to be recovered


class Side(StrEnum):
    """The topic that a fact comes from. Their order to each other is not known."""

    CLAIM = "claim"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class PipelineFact:
    """What one event means for the stage of its claim. `sequence` counts within claim and side."""

    claim_id: ClaimId
    side: Side
    sequence: int
    stage: Stage
    revision: int | None  # None where the event names none
    at: datetime


_STAGE_AFTER: Mapping[type[Event], tuple[Side, Stage]] = {
    ClaimSubmitted: (Side.CLAIM, Stage.SUBMITTED),
    ClaimWithdrawn: (Side.CLAIM, Stage.WITHDRAWN),
    ClaimReturned: (Side.CLAIM, Stage.RETURNED),
    ClaimRejected: (Side.CLAIM, Stage.REJECTED),
    ClaimApproved: (Side.CLAIM, Stage.PAYING),
    PaymentRequested: (Side.CLAIM, Stage.PAYING),
    PaymentFailed: (Side.CLAIM, Stage.PAYING),
    PaymentSettled: (Side.CLAIM, Stage.PAID),
    PaymentStopped: (Side.CLAIM, Stage.REVOKED),
    ClaimApprovalRevoked: (Side.CLAIM, Stage.REVOKED),
    ApprovalTaskAssigned: (Side.APPROVAL, Stage.APPROVING),
    ApprovalTaskDecided: (Side.APPROVAL, Stage.APPROVING),
    ApprovalDecided: (Side.APPROVAL, Stage.APPROVING),
}
PIPELINE_EVENTS = tuple(_STAGE_AFTER)


def pipeline_fact(event: Event, sequence: int, at: datetime) -> PipelineFact | None:
    """The fact in an event, if it moves a claim."""
    if type(event) not in _STAGE_AFTER:
        return None
    side, stage = _STAGE_AFTER[type(event)]
    revision = getattr(event, "revision", None)
    return PipelineFact(ClaimId(event.key), side, sequence, stage, revision, at)


@dataclass(frozen=True, slots=True)
class Flight:
    """One claim in the view, folded from both sides independently of how they interleave."""

    claim_id: ClaimId
    claim_sequence: int = 0
    approval_sequence: int = 0
    stage: Stage | None = None  # by the claim's side alone; None: only approvals are known
    since: datetime | None = None
    revision: int = 0
    approving_revision: int = 0
    approving_since: datetime | None = None

    def after(self, fact: PipelineFact) -> "Flight":
        """The claim after this fact. A fact seen before, or an older one, changes nothing."""
        if fact.side is Side.APPROVAL:
            if fact.sequence <= self.approval_sequence:
                return self
            asked = replace(self, approval_sequence=fact.sequence)
            revision = fact.revision or 0
            if revision <= self.approving_revision:
                return asked
            return replace(asked, approving_revision=revision, approving_since=fact.at)
        if fact.sequence <= self.claim_sequence:
            return self
        return replace(
            self,
            claim_sequence=fact.sequence,
            stage=fact.stage,
            since=self.since if self.stage == fact.stage else fact.at,
            revision=max(self.revision, fact.revision or 0),
        )

    @property
    def position(self) -> tuple[Stage, datetime] | None:
        """The stage, and since when the claim is in it; None: not handed in as far as we know."""
        if self.stage is None or self.since is None:
            return None
        is_asked = self.approving_revision >= self.revision and self.approving_since is not None
        if self.stage is Stage.SUBMITTED and is_asked and self.approving_since is not None:
            return Stage.APPROVING, self.approving_since
        return self.stage, self.since
