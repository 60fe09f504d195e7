"""Values that events share: money, open enumerations, content hashes, bounded text."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

AMOUNT_PATTERN = r"^-?[0-9]{1,14}(\.[0-9]{1,4})?$"


class _DecimalString:
    """On the wire a decimal string and nothing else; in Python a Decimal, a string or an int."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # The pattern already counts the digits; counting them again costs as much as reading them.
        text = core_schema.str_schema(pattern=AMOUNT_PATTERN)
        return core_schema.json_or_python_schema(
            core_schema.chain_schema([text, core_schema.decimal_schema()]),
            core_schema.no_info_wrap_validator_function(_plain, handler(source)),
        )


def _plain(value: Any, exact: ValidatorFunctionWrapHandler) -> Decimal:
    if isinstance(value, float):
        raise ValueError("an amount is a decimal string, never a float")  # noqa: TRY004
    # Without this 1E+3 would be written as such, and the wire knows no exponents.
    return Decimal(f"{exact(value):f}")


Amount = Annotated[
    Decimal,
    Field(max_digits=18, decimal_places=4, allow_inf_nan=False),
    _DecimalString,
    WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN}),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]
ContentHash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the canonical document, hex")
]
Word = Annotated[str, Field(max_length=64)]  # a name out of a list: category, city, rule, role
ShortText = Annotated[str, Field(max_length=200)]
Opinion = Annotated[str, Field(max_length=1000)]


class Money(BaseModel):
    """An amount in one currency, on the wire `{"amount": "12.50", "currency": "CNY"}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    amount: Amount
    currency: Currency


class OpenEnum(StrEnum):
    """An enumeration that may grow: a value that this reader does not know yet becomes `UNKNOWN`.

    Every member list must hold `UNKNOWN`, and no code may treat it as a yes.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("UNKNOWN") if isinstance(value, str) and value != "UNKNOWN" else None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        closed = handler.resolve_ref_schema(handler(schema))
        known = [value for value in closed.pop("enum") if value != "UNKNOWN"]
        closed["x-extensible-enum"] = known
        return closed
