"""What a claim is, and what may follow what."""

from claims.claim.domain.claim import (
    MAX_LINES,
    MAX_TITLE,
    Claim,
    ClaimChanged,
    ClaimNotFound,
    Content,
    CurrenciesMixed,
    DecisionImpossible,
    Draft,
    Summary,
    VersionConflict,
    new_claim,
    total_of,
)
from claims.claim.domain.states import (
    NEXT,
    OWNERS_MOVES,
    STATUS_ZH,
    Move,
    MoveNotAllowed,
    Status,
)

__all__ = [
    "MAX_LINES",
    "MAX_TITLE",
    "NEXT",
    "OWNERS_MOVES",
    "STATUS_ZH",
    "Claim",
    "ClaimChanged",
    "ClaimNotFound",
    "Content",
    "CurrenciesMixed",
    "DecisionImpossible",
    "Draft",
    "Move",
    "MoveNotAllowed",
    "Status",
    "Summary",
    "VersionConflict",
    "new_claim",
    "total_of",
]
