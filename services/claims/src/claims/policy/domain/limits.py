"""Which limits an expense line breaks, and the trace that shows why."""

from collections.abc import Iterable, Sequence
from datetime import date

import yaml
from events import Money
from events.claims import Severity, Violation
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from claims.policy.domain.money import exact, said

NO_RULE = "no-rule"


class Line(Struct, frozen=True):
    """One expense as the employee wrote it. `reason`: why a limit had to be passed."""

    line_no: int
    category: str
    spent_on: date
    city: str | None
    amount: Money
    reason: str | None = None


class LimitRule(BaseModel):
    """At most this much for one line of a category. `effective_to` is the first day after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=80)
    category: str = Field(min_length=1, max_length=40)
    city: str | None = None  # None: everywhere
    limit: Money
    severity: Severity
    effective_from: date
    effective_to: date | None = None

    @field_validator("limit")
    @classmethod
    def _exact(cls, limit: Money) -> Money:
        return exact(limit.amount, limit.currency)

    def covers(self, line: Line) -> bool:
        return (
            self.category == line.category
            and self.city in {None, line.city}
            and self.limit.currency == line.amount.currency
            and self.effective_from <= line.spent_on
            and (self.effective_to is None or line.spent_on < self.effective_to)
        )


class Trace(BaseModel):
    """How a finding came about: the rule as it was, what it looked at, and the comparison."""

    model_config = ConfigDict(frozen=True)

    rule_id: str
    rule_from: date | None = None
    inputs: dict[str, str]
    result: str


class Finding(BaseModel):
    """One rule that one line breaks, in words for the person who can mend it."""

    model_config = ConfigDict(frozen=True)

    line_no: int
    rule_id: str
    severity: Severity
    amount: Money
    limit: Money | None = None
    reason: str | None = None
    zh: str
    en: str
    trace: Trace

    @property
    def reason_missing(self) -> bool:
        return self.severity is Severity.WARN and self.reason is None

    @property
    def hinders(self) -> bool:
        """Whether the claim may not be handed in like this."""
        return self.reason_missing or self.severity is not Severity.WARN

    @property
    def violation(self) -> Violation:
        """As the approver sees it."""
        return Violation(
            line_no=self.line_no,
            rule_id=self.rule_id,
            severity=self.severity,
            limit=self.limit,
            reason=self.reason,
        )


class PolicyBroken(Exception):
    """The claim may not be handed in: a limit is passed, or a reason is missing."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(", ".join(f"{f.line_no}: {f.rule_id}" for f in findings))
        self.findings = tuple(findings)


_LIMITS = TypeAdapter(tuple[LimitRule, ...])


def parse_limits(text: str) -> tuple[LimitRule, ...]:
    """Read limit rules from YAML.

    Raises:
        ValueError: a rule is not readable, holds an unknown severity, or stands there twice.
    """
    rules = _LIMITS.validate_python(yaml.safe_load(text))
    seen: set[tuple[str, date]] = set()
    for rule in rules:
        if rule.severity is Severity.UNKNOWN:
            raise ValueError(f"rule {rule.id}: severity is neither warn nor block")
        if (rule.id, rule.effective_from) in seen:
            raise ValueError(f"rule {rule.id} of {rule.effective_from} stands there twice")
        seen.add((rule.id, rule.effective_from))
    return rules


def judge(lines: Iterable[Line], rules: Sequence[LimitRule]) -> tuple[Finding, ...]:
    """What is wrong with these lines: at most one finding for each, the heaviest."""
    found = (_judge_line(line, [rule for rule in rules if rule.covers(line)]) for line in lines)
    return tuple(finding for finding in found if finding is not None)


def _judge_line(line: Line, rules: Sequence[LimitRule]) -> Finding | None:
    if not rules:
        return _no_rule(line)
    for severity in (Severity.BLOCK, Severity.WARN):
        # The rule of the city goes before the general one, the newer before the older.
        chosen = max(
            (rule for rule in rules if rule.severity is severity),
            key=lambda rule: (rule.city is not None, rule.effective_from, rule.id),
            default=None,
        )
        if chosen is not None and line.amount.amount > chosen.limit.amount:
            return _over(line, chosen)
    return None


def _over(line: Line, rule: LimitRule) -> Finding:
    amount, limit = said(line.amount), said(rule.limit)
    over_zh = f"第 {line.line_no} 行 {line.category} 金额 {amount}，超过标准 {limit}"
    over_en = f"Line {line.line_no}, {line.category}: {amount} is over the limit {limit}"
    if rule.severity is Severity.BLOCK:
        zh, en = "不能提交；请改为不超过标准的金额。", "not allowed; lower it to the limit."
    elif line.reason is None:
        zh, en = "请在该行填写原因（reason）。", "add a reason to the line."
    else:
        zh, en = f"原因：{line.reason}", f"reason: {line.reason}"
    return Finding(
        line_no=line.line_no,
        rule_id=rule.id,
        severity=rule.severity,
        amount=line.amount,
        limit=rule.limit,
        reason=line.reason if rule.severity is Severity.WARN else None,
        zh=f"{over_zh}；{zh}",
        en=f"{over_en}; {en}",
        trace=Trace(
            rule_id=rule.id,
            rule_from=rule.effective_from,
            inputs=_inputs(line) | {"limit": limit},
            result=f"{amount} > {limit}: {rule.severity}",
        ),
    )


def _no_rule(line: Line) -> Finding:
    what = f"{line.category}, {line.amount.currency}, {line.spent_on}"
    return Finding(
        line_no=line.line_no,
        rule_id=NO_RULE,
        severity=Severity.BLOCK,
        amount=line.amount,
        zh=f"第 {line.line_no} 行没有适用的费用标准（{what}）；请改选类别、币种或日期。",
        en=f"Line {line.line_no}: no rule covers {what}; choose another category, currency, date.",
        trace=Trace(rule_id=NO_RULE, inputs=_inputs(line), result="no rule covers it: block"),
    )


def _inputs(line: Line) -> dict[str, str]:
    inputs = {
        "category": line.category,
        "spent_on": line.spent_on.isoformat(),
        "amount": said(line.amount),
    }
    return inputs if line.city is None else inputs | {"city": line.city}
