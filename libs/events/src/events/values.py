"""Values that events share: money, open enumerations, content hashes, bounded text."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue, WithJsonSchema
from pydantic_core import CoreSchema


def _no_float(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError("an amount is a decimal string, never a float")  # noqa: TRY004
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    Field(max_digits=18, decimal_places=4, allow_inf_nan=False),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d{1,14}(\.\d{1,4})?$"}),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]
ContentHash = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the canonical document, hex")
]
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
