"""Claims over HTTP."""

from claims.claim.api.models import ClaimIdInPath, ClaimOut, MoneyIn, Words, shown
from claims.claim.api.routes import REFUSALS, all_readers, router

__all__ = [
    "REFUSALS",
    "ClaimIdInPath",
    "ClaimOut",
    "MoneyIn",
    "Words",
    "all_readers",
    "router",
    "shown",
]
