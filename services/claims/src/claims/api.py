"""The whole HTTP face: one claim with its payment, and the routers of every subject."""

from chassis.auth import Me
from chassis.http import Db
from chassis.problem import Refusal
from fastapi import APIRouter

from claims.claim import api as claim_api
from claims.claim import handlers as claim_handlers
from claims.claim.api import ClaimIdInPath, ClaimOut, all_readers
from claims.payment import api as payment_api
from claims.payment import handlers as payment_handlers
from claims.payment.api import PaymentOut
from claims.policy import api as policy_api
from claims.timeline import api as timeline_api

router = APIRouter(prefix="/api/claims")


class WholeClaim(ClaimOut):
    """A claim and, once it is approved, the latest attempt to pay it."""

    payment: PaymentOut | None


@router.get("/{claim_id}")
async def whole_claim(claim_id: ClaimIdInPath, me: Me, database: Db) -> WholeClaim:
    """One claim, for its owner, finance, auditors and administrators."""
    async with database.transaction() as tx:
        claim = await claim_handlers.readable_claim(tx, claim_id, all_readers(me))
        findings = await claim_handlers.findings_of(tx, claim)
        payment = await payment_handlers.latest_payment(tx, claim.id)
    return WholeClaim(
        **claim_api.shown(claim, findings),
        payment=None if payment is None else PaymentOut.of(payment),
    )


ROUTERS = (router, claim_api.router, payment_api.router, policy_api.router, timeline_api.router)
REFUSALS: dict[type[Exception], Refusal] = {**claim_api.REFUSALS, **payment_api.REFUSALS}
