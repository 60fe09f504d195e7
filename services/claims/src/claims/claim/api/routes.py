"""The routes of claims, and the one-glance table of their refusals."""

from collections.abc import Sequence
from typing import Annotated

from chassis import Tx
from chassis.auth import Me, Principal, needs
from chassis.http import Db
from chassis.idempotency import OncePerKey
from chassis.problem import NOT_FOUND, FieldRefusal, Refusal, Text
from chassis.together import Asked, together
from events import ClaimId, EmployeeId
from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError

from claims.claim import handlers
from claims.claim.api.models import (
    ClaimIdInPath,
    ClaimOut,
    ClaimPage,
    DraftIn,
    EditIn,
    SubmitIn,
    shown,
)
from claims.claim.domain import (
    Claim,
    ClaimChanged,
    ClaimNotFound,
    MoveNotAllowed,
    Status,
    VersionConflict,
)
from claims.claim.handlers import HandIn
from claims.policy.domain import Finding, PolicyBroken

REFUSALS: dict[type[Exception], Refusal] = {
    ClaimNotFound: NOT_FOUND,
    MoveNotAllowed: Refusal(
        409,
        "move-not-allowed",
        Text(
            "报销单{status_zh}，不能执行 {move}；请刷新后再看可用操作（moves）。",
            "The claim is {claim_status}, which does not allow {move}; reload, see its moves.",
        ),
    ),
    VersionConflict: Refusal(
        409,
        "version-conflict",
        Text(
            "报销单已被修改：你的版本是 {yours}，当前版本是 {current}；请刷新后重做修改。",
            "The claim has changed: yours is version {yours}, it is at {current}; reload, redo.",
        ),
    ),
    ClaimChanged: Refusal(
        409,
        "claim-changed",
        Text(
            "报销单刚刚同时被修改，本次操作未生效；请刷新后再试。",
            "The claim was changed at the same moment and this did nothing; reload, try again.",
        ),
    ),
}
router = APIRouter(prefix="/api/claims")
_EMPLOYEE = [needs("employee")]


def all_readers(me: Principal) -> EmployeeId | None:
    """Whose claims this reader may see: None for those who may see all."""
    return None if me.has("finance", "auditor", "admin") else EmployeeId(me.subject)


@router.post("/{claim_id}/submit", status_code=202, dependencies=_EMPLOYEE)
async def submit_claim(
    claim_id: ClaimIdInPath, once: OncePerKey, sent: SubmitIn | None = None
) -> Response:
    """Hand it in, once per Idempotency-Key."""
    asked = sent or SubmitIn()
    ask = HandIn(EmployeeId(once.subject), claim_id, asked.version, asked.chosen)
    try:
        return await together(once, _submits, ask, status=202)
    except PolicyBroken as broken:
        raise RequestValidationError([_line_error(f) for f in broken.findings]) from broken


@router.post("", status_code=201, dependencies=_EMPLOYEE)
async def draft_claim(sent: DraftIn, me: Me, database: Db) -> ClaimOut:
    """Keep a draft, answered with what policy would say to it."""
    async with database.transaction() as tx:
        claim = await handlers.draft_claim(tx, EmployeeId(me.subject), sent.draft)
        return _out(claim, await handlers.findings_of(tx, claim))


@router.put("/{claim_id}", dependencies=_EMPLOYEE)
async def edit_claim(claim_id: ClaimIdInPath, sent: EditIn, me: Me, database: Db) -> ClaimOut:
    """Replace the whole draft."""
    owner = EmployeeId(me.subject)
    async with database.transaction() as tx:
        claim = await handlers.edit_claim(tx, owner, claim_id, sent.version, sent.draft)
        return _out(claim, await handlers.findings_of(tx, claim))


@router.get("")
async def own_claims(
    me: Me,
    database: Db,
    status: Status | None = None,
    after: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ClaimPage:
    """The caller's own claims, newest first."""
    async with database.transaction() as tx:
        items = await handlers.claims_of(
            tx, EmployeeId(me.subject), status, ClaimId(after) if after else None, limit
        )
    return ClaimPage(items=items, next=items[-1].id if len(items) == limit else None)


@router.post("/{claim_id}/withdraw", dependencies=_EMPLOYEE)
async def withdraw_claim(claim_id: ClaimIdInPath, me: Me, database: Db) -> ClaimOut:
    """Take it back before it is decided."""
    async with database.transaction() as tx:
        claim = await handlers.withdraw_claim(tx, EmployeeId(me.subject), claim_id)
        return _out(claim, await handlers.findings_of(tx, claim))


async def _submits(tx: Tx, asked: Sequence[Asked[HandIn]]) -> list[ClaimOut | Exception]:
    made = await handlers.submit_claims(tx, asked)
    return [one if isinstance(one, Exception) else _out(one, one.findings) for one in made]


def _out(claim: Claim, findings: tuple[Finding, ...]) -> ClaimOut:
    return ClaimOut(**shown(claim, findings))


def _line_error(finding: Finding) -> dict[str, object]:
    field = "reason" if finding.reason_missing else "amount"
    said = FieldRefusal(Text(zh="{zh}", en="{en}"), zh=finding.zh, en=finding.en)
    return {
        "loc": ("lines", finding.line_no - 1, field),
        "type": finding.rule_id,
        "msg": finding.en,
        "ctx": {"error": said},
    }
