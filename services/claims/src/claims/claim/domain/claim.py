"""A claim: what its owner writes, what an approval is bound to, and what comes of it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events import ClaimId, ContentHash, EmployeeId, Event, Money
from events.claims import (
    ChosenApprovers,
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    ClaimWithdrawn,
    ExpenseLine,
    Violation,
)
from events.workflow import ApprovalDecided, ApprovalRevoked, Outcome
from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict

from claims.claim.domain.states import NEXT, OWNERS_MOVES, Move, MoveNotAllowed, Status
from claims.policy.domain import Finding, Line, PolicyBroken

MAX_LINES = 200
MAX_TITLE = 120


class ClaimNotFound(Exception):
    """There is no such claim, or it is another person's."""


class VersionConflict(Exception):
    """The claim was changed by someone else in the meantime."""

    def __init__(self, yours: int, current: int) -> None:
        super().__init__(f"yours {yours}, current {current}")
        self.yours = yours
        self.current = current


class ClaimChanged(Exception):
    """The claim was changed at the same moment; what was to happen did not."""


class CurrenciesMixed(ValueError):
    """The lines of one claim are in several currencies, which is not supported yet."""

    def __init__(self, currencies: Sequence[str]) -> None:
        super().__init__(", ".join(currencies))
        self.currencies = ", ".join(currencies)


class DecisionImpossible(Exception):
    """A decision that cannot be about this claim as it was handed in."""


def total_of(lines: Sequence[Line]) -> Money:
    """The sum of the lines.

    Raises:
        CurrenciesMixed: there is no sum.
    """
    currencies = sorted({line.amount.currency for line in lines})
    if len(currencies) != 1:
        raise CurrenciesMixed(currencies)
    amounts = [line.amount.amount for line in lines]
    return Money(amount=sum(amounts[1:], start=amounts[0]), currency=currencies[0])


class Content(BaseModel):
    """What is handed in and approved: all of it stands in `claim.submitted.v1`.

    The canonical form is UTF-8 JSON without spaces, keys sorted, characters not escaped:
    `claim_id`, `employee_id`, `title`, `total`, `lines` (`line_no`, `category`, `spent_on`, `city`,
    `amount`) and `violations` (`line_no`, `rule_id`, `severity`, `limit`, `reason`), both in the
    order of the event; `cost_centre` only where one is named. Money is `{"amount","currency"}`, the
    amount a plain decimal string with exactly the currency's decimals; a date is ISO 8601; what
    else is absent is null.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    claim_id: ClaimId
    employee_id: EmployeeId
    title: str
    total: Money
    lines: tuple[ExpenseLine, ...]
    violations: tuple[Violation, ...]
    cost_centre: str | None = None

    @property
    def canonical(self) -> bytes:
        """The bytes that are hashed; a field that a later release adds to an event stays out."""
        plain = self.model_dump(mode="json")
        plain["lines"] = [{name: line[name] for name in _LINE} for line in plain["lines"]]
        plain["violations"] = [{name: v[name] for name in _VIOLATION} for v in plain["violations"]]
        if self.cost_centre is None:  # as claims were hashed before they could name one
            del plain["cost_centre"]
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()

    @property
    def hash(self) -> ContentHash:
        """SHA-256 of the canonical form, 64 hex digits."""
        return ContentHash(hashlib.sha256(self.canonical).hexdigest())


_LINE = ("line_no", "category", "spent_on", "city", "amount")
_VIOLATION = ("line_no", "rule_id", "severity", "limit", "reason")


class Draft(Struct, frozen=True):
    """What an employee writes: all that can be edited.

    `cost_centre`: what bears the cost; None: the employee's department. `chosen`: whom the employee
    chose for steps of the approval that let them; not content, so no approver is bound to it.
    """

    title: str
    lines: tuple[Line, ...]
    cost_centre: str | None = None
    chosen: tuple[ChosenApprovers, ...] = ()


class Claim(Struct, frozen=True):
    """A claim as it stands. `revision` counts the hand-ins, `version` every change."""

    id: ClaimId
    employee_id: EmployeeId
    title: str
    lines: tuple[Line, ...]
    total: Money
    status: Status
    revision: int
    version: int
    created_at: datetime
    changed_at: datetime
    submitted_at: datetime | None = None
    content_hash: ContentHash | None = None
    findings: tuple[Finding, ...] = ()  # as of the last hand-in
    cost_centre: str | None = None
    chosen: tuple[ChosenApprovers, ...] = ()

    @property
    def is_editable(self) -> bool:
        return (self.status, Move.EDIT) in NEXT

    @property
    def owners_moves(self) -> tuple[Move, ...]:
        """What its owner can do now."""
        return tuple(move for move in OWNERS_MOVES if (self.status, move) in NEXT)

    def moved(self, move: Move, now: datetime) -> "Claim":
        """The claim after this move.

        Raises:
            MoveNotAllowed: the state machine has no such step.
        """
        status = NEXT.get((self.status, move))
        if status is None:
            raise MoveNotAllowed(self.status, move)
        return replace(self, status=status, version=self.version + 1, changed_at=now)

    def expect(self, version: int) -> None:
        """Refuse to act on another state than the one the caller has seen."""
        if version != self.version:
            raise VersionConflict(version, self.version)

    def edited(self, draft: Draft, now: datetime) -> "Claim":
        """Another draft in its place."""
        return replace(
            self.moved(Move.EDIT, now),
            title=draft.title,
            lines=draft.lines,
            total=total_of(draft.lines),
            cost_centre=draft.cost_centre,
            chosen=draft.chosen,
        )

    def submitted(
        self, findings: tuple[Finding, ...], now: datetime
    ) -> tuple["Claim", ClaimSubmitted]:
        """Hand it in with what policy found.

        Raises:
            MoveNotAllowed: it is under way or decided already.
            PolicyBroken: a finding blocks, or a warning has no reason.
        """
        moved = self.moved(Move.SUBMIT, now)
        if hindrances := [finding for finding in findings if finding.hinders]:
            raise PolicyBroken(hindrances)
        content = Content(
            claim_id=self.id,
            employee_id=self.employee_id,
            title=self.title,
            total=self.total,
            lines=tuple(_as_handed_in(line) for line in self.lines),
            violations=tuple(finding.violation for finding in findings),
            cost_centre=self.cost_centre,
        )
        fact = ClaimSubmitted(
            **dict(content),
            revision=self.revision + 1,
            content_hash=content.hash,
            submitted_at=now,
            chosen_approvers=self.chosen,
        )
        after = replace(
            moved,
            revision=fact.revision,
            content_hash=fact.content_hash,
            findings=findings,
            submitted_at=now,
        )
        return after, fact

    def withdrawn(self, now: datetime) -> tuple["Claim", ClaimWithdrawn]:
        fact = ClaimWithdrawn(
            claim_id=self.id,
            revision=self.revision,
            employee_id=self.employee_id,
            withdrawn_at=now,
        )
        return self.moved(Move.WITHDRAW, now), fact

    def decided(self, decision: ApprovalDecided, now: datetime) -> tuple["Claim", Event] | None:
        """What an ended approval makes of the claim; None when a withdrawal has overtaken it.

        An approved claim is to be paid at once, so it goes on to `paying`.

        Raises:
            DecisionImpossible: another content or revision, decided before, or no known outcome.
        """
        is_old = decision.revision < self.revision
        if is_old or (decision.revision == self.revision and self.status is Status.WITHDRAWN):
            return None
        self._check(decision)
        match decision.outcome:
            case Outcome.APPROVED:
                approved = self.moved(Move.APPROVE, now).moved(Move.REQUEST_PAYMENT, now)
                return approved, ClaimApproved(
                    claim_id=self.id,
                    revision=self.revision,
                    employee_id=self.employee_id,
                    content_hash=decision.content_hash,
                    approved_at=now,
                )
            case Outcome.RETURNED:
                return self.moved(Move.RETURN, now), ClaimReturned(
                    **self._who_and_which(), returned_at=now
                )
            case Outcome.REJECTED:
                return self.moved(Move.REJECT, now), ClaimRejected(
                    **self._who_and_which(), rejected_at=now
                )
            case _:
                raise DecisionImpossible("the outcome is not one this release knows")

    def revoked(
        self, event: ApprovalRevoked, now: datetime
    ) -> tuple["Claim", ClaimApprovalRevoked] | None:
        """What follows when its approval is taken back; None when that was known or overtaken.

        Raises:
            DecisionImpossible: it was not approved.
        """
        is_old = event.revision < self.revision
        if is_old or self.status in (Status.WITHDRAWN, Status.REVOKED, Status.RECOVERING):
            return None
        if event.revision != self.revision or (self.status, Move.REVOKE) not in NEXT:
            raise DecisionImpossible(
                f"it takes back revision {event.revision}; {self.revision} is {self.status}"
            )
        return self.moved(Move.REVOKE, now), ClaimApprovalRevoked(
            **self._who_and_which(),
            reason=event.reason,
            to_recover=self.total if self.status is Status.PAID else None,
            revoked_at=now,
        )

    def _who_and_which(self) -> dict[str, Any]:
        return {
            "claim_id": self.id,
            "revision": self.revision,
            "employee_id": self.employee_id,
        }

    def _check(self, decision: ApprovalDecided) -> None:
        if decision.revision != self.revision:
            raise DecisionImpossible(
                f"it decides revision {decision.revision}, the claim is at {self.revision}"
            )
        if decision.content_hash != self.content_hash:
            raise DecisionImpossible(
                f"it decides content {decision.content_hash}, handed in was {self.content_hash}"
            )
        if self.status is not Status.SUBMITTED:
            raise DecisionImpossible(f"revision {self.revision} is {self.status} already")


@dataclass(frozen=True, slots=True)
class Summary:
    """A claim in a list, without its lines."""

    id: ClaimId
    title: str
    status: Status
    revision: int
    version: int
    total: Money
    created_at: datetime
    changed_at: datetime
    submitted_at: datetime | None


def new_claim(id_: ClaimId, employee_id: EmployeeId, draft: Draft, now: datetime) -> Claim:
    """A claim that nobody but its owner knows of."""
    return Claim(
        id=id_,
        employee_id=employee_id,
        title=draft.title,
        lines=draft.lines,
        total=total_of(draft.lines),
        status=Status.DRAFT,
        revision=0,
        version=1,
        created_at=now,
        changed_at=now,
        cost_centre=draft.cost_centre,
        chosen=draft.chosen,
    )


def _as_handed_in(line: Line) -> ExpenseLine:
    return ExpenseLine(
        line_no=line.line_no,
        category=line.category,
        spent_on=line.spent_on,
        city=line.city,
        amount=line.amount,
    )
