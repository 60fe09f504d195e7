"""All SQL about definitions, one function per question."""

from collections.abc import Collection
from datetime import date

from chassis import Tx
from events.workflow import DocumentKind

from workflow.definition.domain import Definition, Imported, storable, stored_definition


async def lock_definitions(tx: Tx) -> None:
    """Processes that start together import one after the other; reading goes on meanwhile."""
    await tx.execute("LOCK TABLE definition IN SHARE ROW EXCLUSIVE MODE")


async def definition(tx: Tx, id_: str, version: int) -> Definition | None:
    """What was imported under this id and version."""
    found = await tx.fetchval(
        "SELECT document::text FROM definition WHERE id = $1 AND version = $2", id_, version
    )
    return stored_definition(found) if found is not None else None


async def id_of(tx: Tx, kind: DocumentKind) -> str | None:
    """Under which id documents of this kind are approved."""
    found: str | None = await tx.fetchval(
        "SELECT id FROM definition WHERE document ->> 'kind' = $1 LIMIT 1", kind.value
    )
    return found


async def add_definition(tx: Tx, new: Definition, by: str | None) -> None:
    await tx.execute(
        "INSERT INTO definition (id, version, document, imported_at, imported_by)"
        " VALUES ($1, $2, $3, $4, $5)",
        *(new.id, new.version, storable(new), tx.now, by),
    )


_IN_FORCE = """
SELECT asked.kind, asked.day, found.document
  FROM unnest($1::text[], $2::date[]) AS asked (kind, day)
 CROSS JOIN LATERAL (
       SELECT document::text FROM definition
        WHERE document ->> 'kind' = asked.kind
          AND coalesce((document ->> 'effective_from')::date, '-infinity') <= asked.day
          AND coalesce((document ->> 'effective_to')::date, 'infinity') >= asked.day
        ORDER BY version DESC LIMIT 1) AS found
"""


async def definitions_in_force(
    tx: Tx, asked: Collection[tuple[DocumentKind, date]]
) -> dict[tuple[DocumentKind, date], Definition]:
    """For each kind and day the highest version whose window holds the day, where there is one."""
    rows = await tx.fetch(_IN_FORCE, [kind.value for kind, _ in asked], [day for _, day in asked])
    return {(DocumentKind(kind), day): stored_definition(text) for kind, day, text in rows}


async def versions(tx: Tx, id_: str | None = None) -> list[Imported]:
    """Every version, of this id or of all, the highest of each first."""
    rows = await tx.fetch(
        "SELECT document::text, imported_at, imported_by FROM definition"
        " WHERE $1::text IS NULL OR id = $1 ORDER BY id, version DESC",
        id_,
    )
    return [Imported(stored_definition(text), at, by) for text, at, by in rows]


async def audit_secret(tx: Tx) -> str:
    """What lots are drawn with."""
    secret: str = await tx.fetchval("SELECT secret FROM audit_secret")
    return secret
