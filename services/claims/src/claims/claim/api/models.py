"""What may be sent about a claim, what is answered, and in which words a field is refused."""

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from chassis.problem import FieldRefusal, Text
from events import ClaimId, ContentHash, EmployeeId, Money
from events.claims import ChosenApprovers
from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from claims.claim.domain import (
    MAX_LINES,
    MAX_TITLE,
    Claim,
    ClaimNotFound,
    CurrenciesMixed,
    Draft,
    Move,
    Status,
    Summary,
    total_of,
)
from claims.policy.domain import (
    AmountNotPositive,
    AmountTooLarge,
    CurrencyUnknown,
    DecimalsTooMany,
    Finding,
    Line,
    digits_of,
    line_amount,
)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  # of a step or a person
_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_NOT_A_DECIMAL = Text(
    '金额须为十进制数字字符串，如 "12.50"，不能是 JSON 数字。',
    'An amount is a decimal string such as "12.50", never a JSON number.',
)
_UNPRINTABLE = Text("含有不可见的控制字符，请删除。", "It holds a control character: remove it.")
_FIELD_RULES: dict[type[Exception], tuple[str, Text]] = {
    CurrencyUnknown: (
        "currency_unknown",
        Text(
            "不认识的币种 {currency}；请用 ISO 4217 代码，如 CNY。",
            "Unknown currency {currency}; send an ISO 4217 code such as CNY.",
        ),
    ),
    DecimalsTooMany: (
        "decimals_too_many",
        Text(
            "{currency} 最多 {digits} 位小数，收到 {amount}；请按票据金额填写。",
            "{currency} has at most {digits} decimals, got {amount}; send what the receipt says.",
        ),
    ),
    AmountNotPositive: (
        "amount_not_positive",
        Text("金额必须大于 0；退款请从原费用中扣减。", "Must be above 0; net a refund first."),
    ),
    AmountTooLarge: (
        "amount_too_large",
        Text("单行金额必须小于 {ceiling}；请拆分。", "Must be below {ceiling} a line; split it."),
    ),
    CurrenciesMixed: (
        "currencies_mixed",
        Text(
            "一张报销单暂只支持一种币种，收到 {currencies}；请按币种分单。",
            "One claim holds one currency for now, got {currencies}; make one claim for each.",
        ),
    ),
}


def refused(rule: str, text: Text, **values: Any) -> PydanticCustomError:
    """A field's refusal with a stable rule name, said in the caller's language."""
    return PydanticCustomError(rule, "{error}", {"error": FieldRefusal(text, **values)})


def _in_words(error: Exception) -> PydanticCustomError:
    rule, text = _FIELD_RULES[type(error)]
    return refused(rule, text, **vars(error))


def _decimal(value: object) -> Decimal:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise refused("not_a_decimal_string", _NOT_A_DECIMAL)
    return Decimal(value)


def _known(currency: str) -> str:
    try:
        digits_of(currency)
    except CurrencyUnknown as error:
        raise _in_words(error) from error
    return currency


def _printable(text: object) -> object:
    if not isinstance(text, str):
        return text
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise refused("control_character", _UNPRINTABLE)
    return unicodedata.normalize("NFC", text)


def _up_to(max_length: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=max_length)


Title = Annotated[str, _up_to(MAX_TITLE), BeforeValidator(_printable)]
City = Annotated[str, _up_to(60), BeforeValidator(_printable)]
CostCentre = Annotated[str, _up_to(64), BeforeValidator(_printable)]
ShortWords = Annotated[str, _up_to(200), BeforeValidator(_printable)]


def _claim_id(claim_id: str) -> ClaimId:
    if not re.fullmatch(r"[0-9a-f-]{36}", claim_id):
        raise ClaimNotFound
    return ClaimId(claim_id)


ClaimIdInPath = Annotated[ClaimId, Path(), AfterValidator(_claim_id)]


class MoneyIn(BaseModel):
    """An amount above zero with no more decimals than its currency has."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[Decimal, BeforeValidator(_decimal)]
    currency: Annotated[str, Field(max_length=3), AfterValidator(_known)]

    @model_validator(mode="after")
    def _exact(self) -> Self:
        try:
            line_amount(self.amount, self.currency)
        except (AmountNotPositive, AmountTooLarge, DecimalsTooMany) as error:
            raise _in_words(error) from error
        return self

    @property
    def money(self) -> Money:
        return line_amount(self.amount, self.currency)


class LineIn(BaseModel):
    """One expense. `reason`: why a limit had to be passed, where it was."""

    model_config = ConfigDict(extra="forbid")

    category: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    spent_on: date = Field(ge=date(2000, 1, 1), le=date(2099, 12, 31))
    city: City | None = None
    amount: MoneyIn
    reason: ShortWords | None = None

    def line(self, line_no: int) -> Line:
        return Line(
            line_no=line_no,
            category=self.category,
            spent_on=self.spent_on,
            city=self.city,
            amount=self.amount.money,
            reason=self.reason,
        )


class ChosenIn(BaseModel):
    """Whom the employee chooses for a step of the approval that lets them."""

    model_config = ConfigDict(extra="forbid")

    step: str = Field(pattern=_NAME)
    approvers: tuple[Annotated[EmployeeId, Field(pattern=_NAME)], ...] = Field(
        min_length=1, max_length=50
    )

    @property
    def chosen(self) -> ChosenApprovers:
        return ChosenApprovers(step=self.step, approvers=self.approvers)


_Chosen = Annotated[list[ChosenIn], Field(max_length=20)]


class DraftIn(BaseModel):
    """A whole draft: its lines are numbered in the order in which they are sent.

    `cost_centre`: what bears the cost; null: the employee's department.
    """

    model_config = ConfigDict(extra="forbid")

    title: Title
    lines: list[LineIn] = Field(min_length=1, max_length=MAX_LINES)
    cost_centre: CostCentre | None = None
    chosen_approvers: _Chosen = []

    @field_validator("lines")
    @classmethod
    def _one_currency(cls, lines: list[LineIn]) -> list[LineIn]:
        try:
            total_of([line.line(1) for line in lines])
        except CurrenciesMixed as error:
            raise _in_words(error) from error
        return lines

    @property
    def draft(self) -> Draft:
        return Draft(
            title=self.title,
            lines=tuple(line.line(n) for n, line in enumerate(self.lines, start=1)),
            cost_centre=self.cost_centre,
            chosen=tuple(one.chosen for one in self.chosen_approvers),
        )


class EditIn(DraftIn):
    """`version`: the one that was read; another one in between is answered 409."""

    version: int = Field(ge=1)


class SubmitIn(BaseModel):
    """`version`: the one the employee has seen, so that nothing else is handed in.

    `chosen_approvers`: in place of those that the draft names.
    """

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(None, ge=1)
    chosen_approvers: _Chosen | None = None

    @property
    def chosen(self) -> tuple[ChosenApprovers, ...] | None:
        asked = self.chosen_approvers
        return None if asked is None else tuple(one.chosen for one in asked)


class LineOut(BaseModel):
    line_no: int
    category: str
    spent_on: date
    city: str | None
    amount: Money
    reason: str | None
    findings: list[Finding]


class ClaimOut(BaseModel):
    """A claim for its reader. `moves`: what its owner can do with it now."""

    id: ClaimId
    employee_id: EmployeeId
    title: str
    status: Status
    revision: int
    version: int
    total: Money
    lines: list[LineOut]
    cost_centre: str | None
    chosen_approvers: list[ChosenApprovers]
    content_hash: ContentHash | None
    moves: list[Move]
    created_at: datetime
    changed_at: datetime
    submitted_at: datetime | None


class ClaimPage(BaseModel):
    """Newest first; `next` is what to send as `after`, null on the last page."""

    items: list[Summary]
    next: ClaimId | None


def shown(claim: Claim, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The fields of `ClaimOut`."""
    return {
        "id": claim.id,
        "employee_id": claim.employee_id,
        "title": claim.title,
        "status": claim.status,
        "revision": claim.revision,
        "version": claim.version,
        "total": claim.total,
        "lines": [
            LineOut(
                line_no=line.line_no,
                category=line.category,
                spent_on=line.spent_on,
                city=line.city,
                amount=line.amount,
                reason=line.reason,
                findings=[finding for finding in findings if finding.line_no == line.line_no],
            )
            for line in claim.lines
        ],
        "cost_centre": claim.cost_centre,
        "chosen_approvers": list(claim.chosen),
        "content_hash": claim.content_hash,
        "moves": claim.owners_moves,
        "created_at": claim.created_at,
        "changed_at": claim.changed_at,
        "submitted_at": claim.submitted_at,
    }
