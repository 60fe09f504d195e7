"""All SQL of policy."""

from collections.abc import Iterable, Sequence

from asyncpg import Record
from chassis import Tx
from events import Money
from events.claims import Severity

from claims.policy.domain import LimitRule

_RULES = """
SELECT id, category, city, amount, currency, severity, effective_from, effective_to
  FROM limit_rule
"""


async def limits(tx: Tx) -> list[LimitRule]:
    rows = await tx.fetch(_RULES + " ORDER BY category, id, effective_from")
    return [_rule(row) for row in rows]


async def limits_of(tx: Tx, categories: Iterable[str]) -> list[LimitRule]:
    rows = await tx.fetch(
        _RULES + " WHERE category = ANY ($1::text[])",
        list(categories),
    )
    return [_rule(row) for row in rows]


async def replace_limits(tx: Tx, rules: Sequence[LimitRule]) -> None:
    """Make the table say what these rules say, and nothing else.

    Processes that start together import one after the other; reading goes on meanwhile.
    """
    await tx.execute("LOCK TABLE limit_rule IN SHARE ROW EXCLUSIVE MODE")
    await tx.execute("DELETE FROM limit_rule")
    await tx.execute(
        "INSERT INTO limit_rule (id, category, city, amount, currency, severity,"
        " effective_from, effective_to) SELECT * FROM unnest($1::text[], $2::text[], $3::text[],"
        " $4::numeric[], $5::text[], $6::text[], $7::date[], $8::date[])",
        [rule.id for rule in rules],
        [rule.category for rule in rules],
        [rule.city for rule in rules],
        [rule.limit.amount for rule in rules],
        [rule.limit.currency for rule in rules],
        [rule.severity.value for rule in rules],
        [rule.effective_from for rule in rules],
        [rule.effective_to for rule in rules],
    )


def _rule(row: Record) -> LimitRule:
    return LimitRule(
        id=row["id"],
        category=row["category"],
        city=row["city"],
        limit=Money(amount=row["amount"], currency=row["currency"]),
        severity=Severity(row["severity"]),
        effective_from=row["effective_from"],
        effective_to=row["effective_to"],
    )
