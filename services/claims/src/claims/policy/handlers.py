"""Judging lines by the rules in force, and bringing new rules in."""

from collections.abc import Iterable, Sequence

from chassis import Tx

from claims.policy import domain, store
from claims.policy.domain import Finding, LimitRule, Line


async def judge(tx: Tx, lines: Sequence[Line]) -> tuple[Finding, ...]:
    """What policy says to these lines today."""
    return domain.judge(lines, await rules_for(tx, [lines]))


async def rules_for(tx: Tx, claims: Iterable[Sequence[Line]]) -> list[LimitRule]:
    """Every rule, in force or not, that can concern the lines of these claims."""
    return await store.limits_of(tx, {line.category for lines in claims for line in lines})


async def limits(tx: Tx) -> list[LimitRule]:
    return await store.limits(tx)


async def import_limits(tx: Tx, rules: Sequence[LimitRule]) -> None:
    """Take the rules of the file as the rules in force."""
    await store.replace_limits(tx, rules)
