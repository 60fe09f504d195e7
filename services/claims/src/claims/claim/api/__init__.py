"""Claims over HTTP."""

from claims.claim.api.models import ClaimIdInPath, ClaimOut, MoneyIn, ShortWords, shown
from claims.claim.api.routes import REFUSALS, all_readers, router

__all__ = [
    "REFUSALS",
    "ClaimIdInPath",
    "ClaimOut",
    "MoneyIn",
    "ShortWords",
    "all_readers",
    "router",
    "shown",
]
