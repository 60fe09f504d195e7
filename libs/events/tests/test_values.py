"""Money is exact on both sides of the wire."""

from decimal import Decimal

import pytest
from events import Money
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("given", "written"),
    [("12.50", "12.50"), (Decimal("0.1"), "0.1"), (7, "7"), (Decimal("1E+3"), "1000")],
)
def test_an_amount_is_written_as_a_plain_decimal_string(given, written):
    money = Money(amount=given, currency="CNY")

    assert money.model_dump(mode="json") == {"amount": written, "currency": "CNY"}


@pytest.mark.parametrize("given", [12.5, float("nan"), "1.00001", "1e20", "Infinity", "", None])
def test_an_amount_that_is_not_exact_is_refused(given):
    with pytest.raises(ValidationError, match="amount"):
        Money(amount=given, currency="CNY")
