"""Money as ISO 4217 knows it: each currency has its number of decimals, and no amount has more."""

from decimal import Decimal
from functools import cache

from events import Money
from iso4217 import raw_table

CEILING = Decimal(1_000_000_000)  # one line stays below it, so that every total fits its column


class CurrencyUnknown(ValueError):
    """Not the code of a currency that has an amount in minor units."""

    def __init__(self, currency: str) -> None:
        super().__init__(currency)
        self.currency = currency


class DecimalsTooMany(ValueError):
    """More decimals than the currency has."""

    def __init__(self, amount: Decimal, currency: str, digits: int) -> None:
        super().__init__(f"{amount:f} {currency}")
        self.amount = f"{amount:f}"
        self.currency = currency
        self.digits = digits


class AmountNotPositive(ValueError):
    """Zero or less is no expense."""


class AmountTooLarge(ValueError):
    """At or over the ceiling of one line."""

    def __init__(self) -> None:
        super().__init__(f"{CEILING:f}")
        self.ceiling = f"{CEILING:f}"


@cache
def digits_of(currency: str) -> int:
    """How many decimals the currency has: CNY 2, JPY 0, KWD 3.

    Raises:
        CurrencyUnknown: ISO 4217 does not list it, or lists it without minor units, as gold.
    """
    digits = str(raw_table[currency]["CcyMnrUnts"]) if currency in raw_table else ""
    if not digits.isdigit():
        raise CurrencyUnknown(currency)
    return int(digits)


def exact(amount: Decimal, currency: str) -> Money:
    """The money with exactly its currency's decimals: `12.5` CNY becomes `12.50`.

    Raises:
        CurrencyUnknown: see `digits_of`.
        DecimalsTooMany: rounding would be needed, and nothing here rounds.
    """
    digits = digits_of(currency)
    scaled = amount.quantize(Decimal(1).scaleb(-digits))
    if scaled != amount:
        raise DecimalsTooMany(amount, currency, digits)
    return Money(amount=scaled, currency=currency)


def line_amount(amount: Decimal, currency: str) -> Money:
    """What one expense has cost.

    Raises:
        AmountNotPositive, AmountTooLarge: it is not above zero and below the ceiling.
        CurrencyUnknown, DecimalsTooMany: see `exact`.
    """
    if amount <= 0:
        raise AmountNotPositive
    if amount >= CEILING:
        raise AmountTooLarge
    return exact(amount, currency)


def said(money: Money) -> str:
    """Money in a sentence: `12.50 CNY`."""
    return f"{money.amount:f} {money.currency}"
