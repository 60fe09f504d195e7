"""All SQL of claims and their lines."""

from collections.abc import Sequence
from itertools import groupby

from asyncpg import Record
from chassis import Tx
from events import ClaimId, ContentHash, EmployeeId
from events.claims import ChosenApprovers
from pydantic import TypeAdapter

from claims.claim.domain import Claim, Status, Summary
from claims.policy.domain import Finding, Line, exact

_FINDINGS = TypeAdapter(tuple[Finding, ...])
_CHOSEN = TypeAdapter(tuple[ChosenApprovers, ...])
_CLAIMS_WITH_LINES = """
SELECT asked.owner, c.id, c.employee_id, c.title, c.status, c.revision, c.version, c.total,
       c.currency, c.content_hash, c.findings, c.created_at, c.changed_at, c.submitted_at,
       c.cost_centre, c.chosen_approvers,
       l.line_no, l.category, l.spent_on, l.city, l.amount, l.reason
  FROM unnest($1::text[], $2::text[]) AS asked (id, owner)
  JOIN claim c ON c.id = asked.id AND (asked.owner IS NULL OR c.employee_id = asked.owner)
  JOIN expense_line l ON l.claim_id = c.id
 ORDER BY c.id, asked.owner, l.line_no
"""
Owner = EmployeeId | None


async def claim(tx: Tx, id_: ClaimId, owner: Owner) -> Claim | None:
    """The claim, if it is this person's; `owner` None: whoever's it is."""
    return (await claims(tx, [(id_, owner)])).get((id_, owner))


async def claims(
    tx: Tx, asked: Sequence[tuple[ClaimId, Owner]]
) -> dict[tuple[ClaimId, Owner], Claim]:
    """Of these claims those that are the person's they are asked for.

    Claim and lines come from one snapshot without a lock, which a joined row lock would tear apart;
    the write then asks that the version is still this one.
    """
    wanted = set(asked)
    rows = await tx.fetch(
        _CLAIMS_WITH_LINES, [id_ for id_, _ in wanted], [owner for _, owner in wanted]
    )
    return {
        key: _claim(list(lines))
        for key, lines in groupby(rows, key=lambda row: (ClaimId(row["id"]), row["owner"]))
    }


async def claims_of(
    tx: Tx, owner: EmployeeId, status: Status | None, after: ClaimId | None, limit: int
) -> list[Summary]:
    """A page of this person's claims, newest first, older than `after`."""
    rows = await tx.fetch(
        "SELECT id, title, status, revision, version, total, currency, created_at, changed_at,"
        " submitted_at FROM claim WHERE employee_id = $1 AND ($2::text IS NULL OR status = $2)"
        " AND ($3::text IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        *(owner, status, after, limit),
    )
    return [
        Summary(
            id=ClaimId(row["id"]),
            title=row["title"],
            status=Status(row["status"]),
            revision=row["revision"],
            version=row["version"],
            total=exact(row["total"], row["currency"]),
            created_at=row["created_at"],
            changed_at=row["changed_at"],
            submitted_at=row["submitted_at"],
        )
        for row in rows
    ]


async def add_claim(tx: Tx, claim: Claim) -> None:
    await tx.execute(
        "WITH added AS (INSERT INTO claim (id, employee_id, title, status, revision, version,"
        " total, currency, created_at, changed_at, cost_centre, chosen_approvers)"
        " VALUES ($1, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19))"
        " INSERT INTO expense_line (claim_id, line_no, category, spent_on, city, amount, currency,"
        " reason) SELECT $1, * FROM unnest($2::integer[], $3::text[], $4::date[], $5::text[],"
        " $6::numeric[], $7::text[], $8::text[])",
        *(claim.id, *_columns(claim.lines)),
        *(claim.employee_id, claim.title, claim.status, claim.revision, claim.version),
        *(claim.total.amount, claim.total.currency, claim.created_at, claim.changed_at),
        *(claim.cost_centre, _chosen(claim)),
    )


async def save_draft(tx: Tx, before: Claim, after: Claim) -> bool:
    """Write title, lines and total anew; False, and nothing written, if `before` is outdated."""
    done = await tx.execute(
        "WITH changed AS (UPDATE claim SET title = $9, version = $10, total = $11, currency = $12,"
        " changed_at = $13, cost_centre = $16, chosen_approvers = $17"
        " WHERE id = $1 AND version = $14 RETURNING id),"
        " gone AS (DELETE FROM expense_line l USING changed"
        " WHERE l.claim_id = changed.id AND l.line_no > $15)"
        " INSERT INTO expense_line AS l (claim_id, line_no, category, spent_on, city, amount,"
        " currency, reason) SELECT changed.id, line.* FROM changed, unnest($2::integer[],"
        " $3::text[], $4::date[], $5::text[], $6::numeric[], $7::text[], $8::text[]) AS line"
        " ON CONFLICT (claim_id, line_no) DO UPDATE SET category = excluded.category,"
        " spent_on = excluded.spent_on, city = excluded.city, amount = excluded.amount,"
        " currency = excluded.currency, reason = excluded.reason",
        *(after.id, *_columns(after.lines)),
        *(after.title, after.version, after.total.amount, after.total.currency),
        *(after.changed_at, before.version, len(after.lines)),
        *(after.cost_centre, _chosen(after)),
    )
    return done != "INSERT 0 0"


async def save_status(tx: Tx, before: Claim, after: Claim) -> bool:
    """Write where the claim stands; False, and nothing written, if `before` is outdated."""
    return after.id in await save_statuses(tx, [(before, after)])


async def save_statuses(tx: Tx, moves: Sequence[tuple[Claim, Claim]]) -> set[ClaimId]:
    """Write where each claim stands after its move; the ids of those whose `before` was true."""
    claims = [after for _, after in moves]
    rows = await tx.fetch(
        "UPDATE claim c SET status = n.status, revision = n.revision, version = n.version,"
        " content_hash = n.content_hash, findings = n.findings, changed_at = n.changed_at,"
        " submitted_at = n.submitted_at, chosen_approvers = n.chosen_approvers"
        " FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::integer[],"
        " $6::text[], $7::jsonb[], $8::timestamptz[], $9::timestamptz[], $10::jsonb[])"
        " AS n (id, before, status, revision, version, content_hash, findings, changed_at,"
        " submitted_at, chosen_approvers)"
        " WHERE c.id = n.id AND c.version = n.before RETURNING c.id",
        [claim.id for claim in claims],
        [before.version for before, _ in moves],
        [claim.status for claim in claims],
        [claim.revision for claim in claims],
        [claim.version for claim in claims],
        [claim.content_hash for claim in claims],
        [_FINDINGS.dump_json(claim.findings).decode() for claim in claims],
        [claim.changed_at for claim in claims],
        [claim.submitted_at for claim in claims],
        [_chosen(claim) for claim in claims],
    )
    return {ClaimId(row["id"]) for row in rows}


def _chosen(claim: Claim) -> str:
    return _CHOSEN.dump_json(claim.chosen).decode()


def _columns(lines: Sequence[Line]) -> tuple[list[object], ...]:
    return (
        [line.line_no for line in lines],
        [line.category for line in lines],
        [line.spent_on for line in lines],
        [line.city for line in lines],
        [line.amount.amount for line in lines],
        [line.amount.currency for line in lines],
        [line.reason for line in lines],
    )


def _claim(rows: Sequence[Record]) -> Claim:
    first = rows[0]
    currency = first["currency"]
    return Claim(
        id=ClaimId(first["id"]),
        employee_id=EmployeeId(first["employee_id"]),
        title=first["title"],
        lines=tuple(_line(row, currency) for row in rows),
        total=exact(first["total"], currency),
        status=Status(first["status"]),
        revision=first["revision"],
        version=first["version"],
        created_at=first["created_at"],
        changed_at=first["changed_at"],
        submitted_at=first["submitted_at"],
        content_hash=first["content_hash"] and ContentHash(first["content_hash"]),
        findings=_FINDINGS.validate_json(first["findings"]),
        cost_centre=first["cost_centre"],
        chosen=_CHOSEN.validate_json(first["chosen_approvers"]),
    )


def _line(row: Record, currency: str) -> Line:
    return Line(
        line_no=row["line_no"],
        category=row["category"],
        spent_on=row["spent_on"],
        city=row["city"],
        amount=exact(row["amount"], currency),
        reason=row["reason"],
    )
