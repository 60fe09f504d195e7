"""What is done with a claim: draft, edit, hand in, withdraw, decide."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from chassis import Origin, Received, Reject, Retry, Tx
from chassis.together import Asked
from events import ClaimId, EmployeeId
from events.claims import ChosenApprovers, ClaimApprovalRevoked, ClaimSubmitted
from events.workflow import ApprovalDecided, ApprovalRevoked, DocumentKind
from msgspec import Struct
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from claims.claim import domain, store
from claims.claim.domain import (
    Claim,
    ClaimChanged,
    ClaimNotFound,
    DecisionImpossible,
    Draft,
    Move,
    MoveNotAllowed,
    Status,
    Summary,
    VersionConflict,
)
from claims.policy import handlers as policy_handlers
from claims.policy.domain import Finding, LimitRule, PolicyBroken, judge

log = structlog.get_logger()


async def draft_claim(tx: Tx, owner: EmployeeId, draft: Draft) -> Claim:
    """Keep a new draft."""
    claim = domain.new_claim(ClaimId(str(uuid7())), owner, draft, tx.now)
    await store.add_claim(tx, claim)
    return claim


async def edit_claim(tx: Tx, owner: EmployeeId, id_: ClaimId, version: int, draft: Draft) -> Claim:
    """Replace the whole draft, if nobody has changed it since `version`."""
    claim = await readable_claim(tx, id_, owner)
    claim.expect(version)
    edited = claim.edited(draft, tx.now)
    if not await store.save_draft(tx, claim, edited):
        raise ClaimChanged
    return edited


class HandIn(Struct, frozen=True):
    """A claim to hand in.

    `version`: what the employee has seen, if they say so; `chosen`: whom they choose now, in place
    of what the draft says.
    """

    owner: EmployeeId
    claim_id: ClaimId
    version: int | None = None
    chosen: tuple[ChosenApprovers, ...] | None = None


async def submit_claims(tx: Tx, asked: Sequence[Asked[HandIn]]) -> list[Claim | Exception]:
    """Hand in each, or say why not; those that come together are loaded and saved together."""
    found = await store.claims(tx, [(one.ask.claim_id, one.ask.owner) for one in asked])
    rules = await policy_handlers.rules_for(tx, [claim.lines for claim in found.values()])
    outcomes = [_handed_in(one, found, rules, tx.now) for one in asked]
    made = [outcome for outcome in outcomes if isinstance(outcome, _HandedIn)]
    saved = await store.save_statuses(tx, [(one.before, one.after) for one in made])
    answers: list[Claim | Exception] = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            answers.append(outcome)
        elif outcome.after.id in saved:
            saved.discard(outcome.after.id)  # a second one of the same claim comes too late
            tx.emit(outcome.fact, origin=outcome.origin)
            answers.append(outcome.after)
        else:
            answers.append(ClaimChanged())
    return answers


class _HandedIn(Struct, frozen=True):
    before: Claim
    after: Claim
    fact: ClaimSubmitted
    origin: Origin


def _handed_in(
    asked: Asked[HandIn],
    found: Mapping[tuple[ClaimId, EmployeeId | None], Claim],
    rules: Sequence[LimitRule],
    now: datetime,
) -> _HandedIn | Exception:
    ask = asked.ask
    claim = found.get((ask.claim_id, ask.owner))
    if claim is None:
        return ClaimNotFound()
    try:
        if ask.version is not None:
            claim.expect(ask.version)
        asking = claim if ask.chosen is None else replace(claim, chosen=ask.chosen)
        after, fact = asking.submitted(judge(claim.lines, rules), now)
    except (VersionConflict, MoveNotAllowed, PolicyBroken) as refusal:
        return refusal
    return _HandedIn(claim, after, fact, asked.origin)


async def withdraw_claim(tx: Tx, owner: EmployeeId, id_: ClaimId) -> Claim:
    """Take it back before it is decided; a decision that comes later finds it withdrawn."""
    claim = await readable_claim(tx, id_, owner)
    withdrawn, fact = claim.withdrawn(tx.now)
    await _save(tx, claim, withdrawn)
    tx.emit(fact)
    return withdrawn


async def decide_claims(
    tx: Tx, decisions: Sequence[Received[ApprovalDecided]]
) -> list[tuple[Claim, Origin]]:
    """Let the outcomes of approvals take effect; those that had one here, with their origins.

    Raises:
        Reject: one cannot be about its claim as it was handed in. It is never taken for a yes.
    """
    ours = [one for one in decisions if one.event.document_kind is DocumentKind.CLAIM]
    found = await store.claims(tx, [(ClaimId(one.event.document_id), None) for one in ours])
    standing = {id_: claim for (id_, _), claim in found.items()}
    moves, made = [], []
    for one in ours:
        before = standing.get(ClaimId(one.event.document_id))
        after = _decided(tx, before, one)
        if before is not None and after is not None:
            standing[before.id] = after  # another decision of the same batch finds it decided
            moves.append((before, after))
            made.append((after, one.origin))
    if moves and len(await store.save_statuses(tx, moves)) != len(moves):
        raise Retry("a claim was changed at the same moment")
    return made


def _decided(tx: Tx, claim: Claim | None, decision: Received[ApprovalDecided]) -> Claim | None:
    event = decision.event
    if claim is None:
        raise Reject(f"claim {event.document_id} is unknown here")
    try:
        made = claim.decided(event, tx.now)
    except DecisionImpossible as impossible:
        raise Reject(f"claim {claim.id}: {impossible}") from impossible
    if made is None:
        log.info("decision overtaken", claim_id=claim.id, revision=event.revision)
        return None
    after, fact = made
    tx.emit(fact, origin=decision.origin)
    return after


async def revoke_claim(tx: Tx, event: ApprovalRevoked) -> ClaimApprovalRevoked | None:
    """Take back what an approval had allowed; None when that was known, overtaken or not ours.

    Raises:
        Reject: it is of no claim that was approved.
    """
    if event.document_kind is not DocumentKind.CLAIM:
        return None
    claim = await store.claim(tx, ClaimId(event.document_id), None)
    if claim is None:
        raise Reject(f"claim {event.document_id} is unknown here")
    try:
        made = claim.revoked(event, tx.now)
    except DecisionImpossible as impossible:
        raise Reject(f"claim {claim.id}: {impossible}") from impossible
    if made is None:
        log.info("revocation overtaken", claim_id=claim.id, revision=event.revision)
        return None
    revoked, fact = made
    if not await store.save_status(tx, claim, revoked):
        raise Retry(f"claim {claim.id} was changed at the same moment")
    tx.emit(fact)
    return fact


async def move_claim(tx: Tx, id_: ClaimId, move: Move) -> Claim:
    """Move it on because its payment has moved."""
    claim = await readable_claim(tx, id_, None)
    moved = claim.moved(move, tx.now)
    await _save(tx, claim, moved)
    return moved


async def readable_claim(tx: Tx, id_: ClaimId, reader: EmployeeId | None) -> Claim:
    """The claim, if it is the reader's; `reader` None: one who may read all.

    Raises:
        ClaimNotFound: there is none, or it is another person's.
    """
    claim = await store.claim(tx, id_, reader)
    if claim is None:
        raise ClaimNotFound
    return claim


async def claims_of(
    tx: Tx, owner: EmployeeId, status: Status | None, after: ClaimId | None, limit: int
) -> list[Summary]:
    """A page of this person's claims, newest first."""
    return await store.claims_of(tx, owner, status, after, limit)


async def findings_of(tx: Tx, claim: Claim) -> tuple[Finding, ...]:
    """What policy says: today, while it can be changed; else what it said at the hand-in."""
    return await policy_handlers.judge(tx, claim.lines) if claim.is_editable else claim.findings


async def _save(tx: Tx, before: Claim, after: Claim) -> None:
    if not await store.save_status(tx, before, after):
        raise ClaimChanged
