"""The rules of money and of spending: pure, no clock, no I/O."""

from claims.policy.domain.limits import (
    NO_RULE,
    Finding,
    LimitRule,
    Line,
    PolicyBroken,
    Trace,
    judge,
    parse_limits,
)
from claims.policy.domain.money import (
    CEILING,
    AmountNotPositive,
    AmountTooLarge,
    CurrencyUnknown,
    DecimalsTooMany,
    digits_of,
    exact,
    line_amount,
    said,
)

__all__ = [
    "CEILING",
    "NO_RULE",
    "AmountNotPositive",
    "AmountTooLarge",
    "CurrencyUnknown",
    "DecimalsTooMany",
    "Finding",
    "LimitRule",
    "Line",
    "PolicyBroken",
    "Trace",
    "digits_of",
    "exact",
    "judge",
    "line_amount",
    "parse_limits",
    "said",
]
