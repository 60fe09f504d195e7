"""Conditions of a definition: CEL that is proven on samples before it is ever asked for real."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any

import cel
from events import DepartmentId, DocumentId, EmployeeId, Money
from events.claims import ExpenseLine, Severity, Violation
from events.workflow import DocumentKind

from workflow.definition.domain.names import (
    Place,
    deep_macro,
    place_of,
    places_of,
    unknown_field,
    zero_divisor,
)
from workflow.definition.domain.route import Document
from workflow.directory.domain import Department, Directory, Person

_FUNCTIONS = frozenset(
    {
        *("money", "sum", "size", "contains", "startsWith", "endsWith", "matches"),
        *("string", "int", "double"),
    }
)
_SYNTAX = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_MONEY = re.compile(r"(?<!\d)\d{1,11}(?:\.\d\d?)? [A-Z]{3}\b")
_NUMBER = re.compile(r"(?<![\w.])\d{1,11}(?![\w.])")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOST_NESTED = 2
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class ConditionInvalid(ValueError):
    """A condition that must not be imported: where in it, and why."""

    def __init__(self, place: Place, zh: str, en: str) -> None:
        super().__init__(en)
        self.place, self.zh, self.en = place, zh, en


class ConditionFailed(Exception):
    """A condition could not be answered on this document: neither yes nor no."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. Equal when its text is."""

    source: str
    program: cel.Program = field(compare=False, repr=False)

    def holds(self, view: cel.Context) -> bool:
        """Whether it is true of what the view shows.

        Raises:
            ConditionFailed: it divides by zero, compares money of another currency, and the like.
        """
        try:
            answer = self.program.execute(view)
        except _FAILURES as error:
            raise ConditionFailed(_said(error)) from error
        if not isinstance(answer, bool):
            raise ConditionFailed(f"its answer is {type(answer).__name__}, not bool")
        return answer


def hundredths(amount: Decimal) -> int:
    """An amount as conditions see it, for CEL knows no decimals.

    What is beyond rounds up: no amount slips under a limit that it is over.
    """
    return int((amount * 100).to_integral_value(ROUND_CEILING))


def facts(
    document: Document, submitter: Person, directory: Directory, *, lines: bool = True
) -> dict[str, Any]:
    """The variables of conditions. `lines` False: leave them out where no condition asks for them.

    Amounts are hundredths of the currency's unit; what is absent is an empty text.
    """
    claim = _claim(document) | ({"lines": _lines(document)} if lines else {})
    person = {
        "id": submitter.employee_id,
        "department": submitter.department_id,
        "roles": sorted(submitter.roles),
    }
    path = list(directory.path(submitter.department_id))
    return {
        "claim": claim,
        "document": claim,
        "submitter": person,
        "traveller": person,
        "department": {"id": submitter.department_id, "path": path},
        "amount": claim["amount"],
        "violations": claim["violations"],
    }


def _claim(document: Document) -> dict[str, Any]:
    return {
        "title": document.title,
        "kind": document.kind.value,
        "amount": hundredths(document.total.amount),
        "currency": document.total.currency,
        "cost_centre": document.cost_centre or "",
        "violations": [
            {"rule_id": one.rule_id, "severity": one.severity.value, "line_no": one.line_no}
            for one in document.violations
        ],
    }


def _lines(document: Document) -> list[dict[str, Any]]:
    return [
        {
            "category": line.category,
            "city": line.city or "",
            "spent_on": line.spent_on.isoformat(),
            "amount": hundredths(line.amount.amount),
            "currency": line.amount.currency,
        }
        for line in document.lines
    ]


def view(
    conditions: Iterable[Condition], document: Document, submitter: Person, directory: Directory
) -> cel.Context:
    """What these conditions may look at, and no more: to convert a value costs microseconds."""
    sources = [condition.source for condition in conditions]
    names = {name for condition in conditions for name in condition.program.variables()}
    lines = any("lines" in source for source in sources)
    shown = facts(document, submitter, directory, lines=lines)
    currencies = {document.total.currency}
    if lines:
        currencies.update(line.amount.currency for line in document.lines)
    return _context({name: shown[name] for name in names & shown.keys()}, _money_of(currencies))


def _context(variables: dict[str, Any], money: Callable[[str], int]) -> cel.Context:
    return cel.Context(variables=variables, functions={"money": money, "sum": sum})


def _money_of(currencies: set[str]) -> Callable[[str], int]:
    def money(text: str) -> int:
        amount, currency = _read_money(text)
        if currencies != {currency}:
            raise ValueError(f"{text} cannot be compared with {', '.join(sorted(currencies))}")
        return amount

    return money


def _read_money(text: str) -> tuple[int, str]:
    number, _, currency = text.partition(" ")
    try:
        amount = Decimal(number) * 100
    except InvalidOperation as error:
        raise ValueError('write money as money("500.00 CNY")') from error
    if amount != amount.to_integral_value() or not _CURRENCY.fullmatch(currency):
        raise ValueError('write money as money("500.00 CNY"), with at most two decimals')
    return int(amount), currency


def compiled(source: str) -> Condition:
    """Compile a condition and try it on samples, empty ones and zeros among them.

    Raises:
        ConditionInvalid: syntax, an unknown name, a failure on a sample, or an answer that is
            neither true nor false.
    """
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise _syntax(str(error)) from error
    _refuse_unknown(source, program.functions())
    _refuse_hidden(source)
    condition = Condition(source, program)
    for sample in _samples(source):
        try:
            condition.holds(sample)
        except ConditionFailed as failed:
            raise _failed(source, failed) from failed
    return condition


def _said(error: Exception) -> str:
    """The library's first sentence: the rest is advice for programmers."""
    first = re.split(r"(?<=[^0-9])\. ", str(error), maxsplit=1)[0]
    return " ".join(first.strip("'\".").split())


def _syntax(message: str) -> ConditionInvalid:
    found = _SYNTAX.search(message)
    line, column, said = found.groups() if found else ("1", "1", message)
    place = Place(int(line), int(column))
    return ConditionInvalid(place, f"语法错误：{said}", f"syntax error: {said}")


def _refuse_unknown(source: str, functions: Sequence[str]) -> None:
    for name in functions:  # operators are in this list too, under names that no one can write
        if name.isidentifier() and name not in _FUNCTIONS:
            place = place_of(source, next(places_of(source, name), 0))
            known = ", ".join(sorted(_FUNCTIONS))
            raise ConditionInvalid(
                place,
                f"没有函数 {name}；可用的有 {known}",
                f"there is no function {name}; known are {known}",
            )
    wrong = unknown_field(source, _SHAPE)
    if wrong is not None:
        known = ", ".join(wrong.known) or "—"
        raise ConditionInvalid(
            place_of(source, wrong.offset),
            f"没有字段 {wrong.name}；可用的有 {known}",
            f"there is no field {wrong.name}; known are {known}",
        )


def _refuse_hidden(source: str) -> None:
    """What no sample need show, and a real document will."""
    zero = zero_divisor(source)
    if zero is not None:
        raise ConditionInvalid(place_of(source, zero), "除以零", "divides by zero")
    deep = deep_macro(source, _MOST_NESTED)
    if deep is not None:
        zh = f"exists、all、filter、map 最多嵌套 {_MOST_NESTED} 层"
        en = f"exists, all, filter and map nest at most {_MOST_NESTED} deep"
        raise ConditionInvalid(place_of(source, deep), zh, en)


def _failed(source: str, failed: ConditionFailed) -> ConditionInvalid:
    offset = 0
    if isinstance(failed.__cause__, ZeroDivisionError):
        offset = next(places_of(source, "/", "%"), 0)
    return ConditionInvalid(
        place_of(source, offset),
        f"在样例单据上无法求值：{failed}",
        f"cannot be answered on a sample document: {failed}",
    )


def _sample(amount: int, many: int, line_amount: int = 12_050) -> dict[str, Any]:
    """What conditions see of a document with so many lines, violations, duties and departments."""
    cost = Money(amount=Decimal(line_amount) / 100, currency="CNY")
    line = ExpenseLine(
        line_no=1, category="hotel", spent_on=date(2026, 11, 20), city="上海", amount=cost
    )
    ids = [DepartmentId(f"D{n}") for n in range(1, many + 1)]
    document = Document(
        document_id=DocumentId("sample"),
        revision=1,
        kind=DocumentKind.CLAIM,
        submitter_id=EmployeeId("E1001"),
        title="上海客户现场" * min(many, 1),
        total=Money(amount=Decimal(amount) / 100, currency="CNY"),
        content_hash="0" * 64,
        handed_in_at=datetime(2026, 11, 24, tzinfo=UTC),
        lines=(line,) * many,
        violations=tuple(
            Violation(line_no=n, rule_id="hotel-limit", severity=Severity.WARN)
            for n in range(1, many + 1)
        ),
        cost_centre="CC-100" if many else None,
    )
    roles = frozenset(f"role-{n}" for n in range(many))
    submitter = Person(document.submitter_id, DepartmentId("D1"), None, roles, is_active=True)
    parents: list[DepartmentId | None] = [*ids[1:], None]
    departments = {
        id_: Department(id_, parent, None) for id_, parent in zip(ids, parents, strict=False)
    }
    return facts(document, submitter, Directory({submitter.employee_id: submitter}, departments))


_SHAPE: Mapping[str, Any] = _sample(0, 1)
_MOST_LINES = 200
_MOST_NUMBERS = 20  # more would take longer than an import may


def _samples(source: str) -> Iterator[cel.Context]:
    """Documents at and beside every number that it names: there it may divide by zero."""
    named = [_read_money(text)[0] for text in _MONEY.findall(source)]
    named += [int(number) for number in _NUMBER.findall(source)]
    near = {number + step for number in named[:_MOST_NUMBERS] for step in (-1, 0, 1)}
    amounts = {0, 1, 50_000, *(number for number in near if number >= 0)}
    counts = {0, 1, 2, 3, *(number for number in near if 0 <= number <= _MOST_LINES)}
    shown = [_sample(amount, many) for amount in sorted(amounts) for many in (0, 1, 2)]
    shown += [_sample(50_000, many) for many in sorted(counts)]
    shown += [_sample(amount, 1, line_amount=amount) for amount in sorted(amounts)]
    return (_context(variables, lambda text: _read_money(text)[0]) for variables in shown)
