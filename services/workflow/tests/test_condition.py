"""Conditions: what is refused at import and where, and what a document is like to them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from events import DepartmentId, DocumentId, EmployeeId, Money
from events.claims import ExpenseLine, Severity, Violation
from events.workflow import DocumentKind
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from workflow.definition.domain import ConditionFailed, ConditionInvalid, Document
from workflow.definition.domain.condition import compiled, facts, hundredths, view
from workflow.directory.domain import Department, Directory, Person


def money(amount: str, currency: str = "CNY") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def a_line(category: str, city: str | None, amount: Money) -> ExpenseLine:
    day = date(2026, 11, 20)
    return ExpenseLine(line_no=1, category=category, spent_on=day, city=city, amount=amount)


LIN = Person(EmployeeId("lin"), DepartmentId("D2"), None, frozenset({"sales"}), is_active=True)
TREE = {
    DepartmentId("D1"): Department(DepartmentId("D1"), None, None),
    DepartmentId("D2"): Department(DepartmentId("D2"), DepartmentId("D1"), None),
}
DIRECTORY = Directory({LIN.employee_id: LIN}, TREE)
DOCUMENT = Document(
    document_id=DocumentId("c-1"),
    revision=1,
    kind=DocumentKind.CLAIM,
    submitter_id=LIN.employee_id,
    title="上海客户现场",
    total=money("680.00"),
    content_hash="ab" * 32,
    handed_in_at=datetime(2026, 11, 24, tzinfo=UTC),
    lines=(
        a_line("hotel", "上海", money("600.00")),
        a_line("meal", None, money("80.00")),
    ),
    violations=(Violation(line_no=1, rule_id="hotel-limit", severity=Severity.WARN),),
)


def holds(source: str, document: Document = DOCUMENT) -> bool:
    condition = compiled(source)
    return condition.holds(view([condition], document, LIN, DIRECTORY))


@pytest.mark.parametrize(
    "source",
    [
        "amount == 68000 && claim.amount == document.amount",
        'amount > money("679.99 CNY") && amount <= money("680 CNY")',
        'claim.title.contains("客户") && claim.kind == "claim" && claim.currency == "CNY"',
        'claim.lines.exists(l, l.city == "上海" && l.category == "hotel" && l.amount == 60000)',
        'claim.lines.filter(l, l.category == "meal").map(m, m.amount).sum() == 8000',
        'claim.lines.exists(l, l.city == "") && claim.lines.all(l, l.spent_on < "2026-12-01")',
        'violations.exists(v, v.severity == "warn" && v.rule_id == "hotel-limit")',
        "violations.all(v, v.line_no == 1)",
        'submitter.id == "lin" && traveller.department == "D2" && "sales" in submitter.roles',
        'department.id == "D2" && "D1" in department.path',
        'claim.cost_centre == ""',
        "size(claim.lines) > 0 && amount / size(claim.lines) == 34000",
        "claim.lines.all(a, claim.lines.exists(b, b.amount < a.amount || a == b))",
        "// amounts are hundredths\namount % 100 == 0",
    ],
)
def test_condition_sees_the_document_its_submitter_and_the_department(source) -> None:
    assert holds(source)
    assert not holds(f"!({source}\n)")


@pytest.mark.parametrize(
    ("source", "line", "column", "said"),
    [
        ("amount >", 1, 9, "syntax"),
        ("claim.lines.all(l, l.amount > 0) &&\n  amount >> 2", 2, 11, "syntax"),
        ("nosuch > 1", 1, 1, "no field nosuch"),
        ("amount > 1 &&\n claim.nosuch > 1", 2, 8, "no field nosuch"),
        ("amount > 5 || claim.nosuch == 1", 1, 21, "no field nosuch"),
        ('claim.lines.exists(l, l.ctiy == "x")', 1, 25, "no field ctiy"),
        ("amount.big > 1", 1, 8, "no field big"),
        ("violations.exists(v, size(v.why) > 1)", 1, 29, "no field why"),
        ("has(claim.nosuch)", 1, 11, "no field nosuch"),
        ("false && nosuch(1)", 1, 10, "no function nosuch"),
        ('"a/b" == claim.title || 1/0 == 1', 1, 26, "zero"),
        ("true || amount % 0 == 1", 1, 16, "zero"),
        (
            "claim.lines.all(a, claim.lines.all(b, claim.lines.all(c, a.amount > 0)))",
            *(1, 51, "nest at most 2"),
        ),
        ("amount / size(violations) > 1", 1, 8, "zero"),
        ("100 / (amount - 50000) > 1", 1, 5, "zero"),
        ('100 / (amount - money("1234.50 CNY")) > 1', 1, 5, "zero"),
        ("100 / (size(claim.lines) - 7) > 1", 1, 5, "zero"),
        ("violations.exists(v, 1 / (v.line_no - 1) == 1)", 1, 24, "zero"),
        ("amount", 1, 1, "not bool"),
        ("claim.lines[0].amount > 1", 1, 1, "out of bounds"),
        ('amount > "x"', 1, 1, "No such overload"),
        ('claim.title.matches("(")', 1, 1, "regex"),
        ('amount > money("5")', 1, 1, "money"),
        ('amount > money("5.001 CNY")', 1, 1, "money"),
    ],
)
def test_condition_that_could_not_be_answered_is_refused_at_its_place(
    source, line, column, said
) -> None:
    with pytest.raises(ConditionInvalid) as refused:
        compiled(source)
    assert (refused.value.place, said in refused.value.en) == ((line, column), True)
    assert refused.value.zh


def test_money_of_another_currency_is_neither_more_nor_less() -> None:
    limit = compiled('amount < money("500.00 CNY")')
    dollars = replace(DOCUMENT, total=money("400.00", "USD"))
    with pytest.raises(ConditionFailed, match="cannot be compared with USD"):
        limit.holds(view([limit], dollars, LIN, DIRECTORY))
    assert not holds('claim.currency == "CNY" && amount < money("500.00 CNY")', dollars)


def test_line_of_another_currency_is_not_compared_either() -> None:
    limit = compiled('claim.lines.exists(l, l.amount > money("500.00 CNY"))')
    yen = a_line("hotel", None, money("600.00", "JPY"))
    with pytest.raises(ConditionFailed, match="JPY"):
        limit.holds(view([limit], replace(DOCUMENT, lines=(yen,)), LIN, DIRECTORY))


def test_failure_on_a_real_document_is_no_answer() -> None:
    condition = compiled('!claim.title.contains("展会") || 1 / size(claim.cost_centre) == 1')
    unlucky = replace(DOCUMENT, title="广州展会")
    assert condition.holds(view([condition], DOCUMENT, LIN, DIRECTORY))
    with pytest.raises(ConditionFailed, match="division by zero"):
        condition.holds(view([condition], unlucky, LIN, DIRECTORY))


def shape(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: shape(one) for name, one in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value)


def test_only_what_conditions_ask_for_is_shown_to_them() -> None:
    shown = view([compiled("amount > 1")], DOCUMENT, LIN, DIRECTORY)
    assert shown.variables == {"amount": 68000}
    condition = compiled("size(claim.lines) == 2")
    shown = view([condition], DOCUMENT, LIN, DIRECTORY)
    assert shape(shown.variables["claim"]) == shape(facts(DOCUMENT, LIN, DIRECTORY)["claim"])


@given(st.decimals("0", "99999999", places=4), st.integers(0, 10_000_000))
def test_no_amount_slips_under_a_limit_that_it_is_over(amount, limit) -> None:
    assert (hundredths(amount) > limit * 100) == (amount > limit)


_WORDS = (
    *("amount", "claim", "lines", "violations", "l", "exists", "map", "size", "money", "in"),
    *("(", ")", "[", "]", "{", "}", ".", ",", "==", "/", "%", "&&", "||", "!", "?", ":", "-"),
    *('"5 CNY"', "'x'", "r'", "\\", "0", "1", "true", "null", "中", "\n"),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=12).map(" ".join))
def test_any_text_is_a_condition_or_is_refused_at_a_place_within_it(source) -> None:
    try:
        compiled(source)
    except ConditionInvalid as refused:
        line, column = refused.place
        lines = source.split("\n")
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1
