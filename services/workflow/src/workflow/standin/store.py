"""All SQL of stand-ins."""

from collections.abc import Collection
from datetime import datetime, timedelta

from asyncpg import Record
from chassis import Tx
from events import EmployeeId
from events.workflow import DocumentKind

from workflow.standin.domain import Reason, Window

_WINDOW = """
SELECT id, person_id, stand_in_id, kinds, begins_at, ends_at, reason, created_by
  FROM stand_in WHERE cancelled_at IS NULL
"""
# UNION, not UNION ALL: a circle ends by itself.
_CHAINS = """
WITH RECURSIVE chain AS (
    SELECT person_id, stand_in_id FROM stand_in
     WHERE person_id = ANY($1::text[]) AND cancelled_at IS NULL
       AND begins_at <= $3 AND ends_at > $3 AND (kinds IS NULL OR $2 = ANY(kinds))
    UNION
    SELECT s.person_id, s.stand_in_id FROM stand_in s JOIN chain c ON s.person_id = c.stand_in_id
     WHERE s.cancelled_at IS NULL
       AND s.begins_at <= $3 AND s.ends_at > $3 AND (s.kinds IS NULL OR $2 = ANY(s.kinds))
)
SELECT person_id, stand_in_id FROM chain
"""


async def next_of(
    tx: Tx, people: Collection[EmployeeId], kind: DocumentKind, at: datetime
) -> dict[EmployeeId, EmployeeId]:
    """Who stands in for each of them, and for those in turn."""
    rows = await tx.fetch(_CHAINS, list(people), kind.value, at)
    return {EmployeeId(row["person_id"]): EmployeeId(row["stand_in_id"]) for row in rows}


async def lock_person(tx: Tx, person: EmployeeId) -> datetime:
    """One change of a person's windows at a time; answers what time it is in the database."""
    now: datetime = await tx.fetchval(
        "SELECT now(), pg_advisory_xact_lock(hashtextextended($1, 0))", f"stand-in of {person}"
    )
    return now


async def overlapping(tx: Tx, new: Window) -> Window | None:
    """A window of the same person that holds at a time and for a kind of the new one."""
    row = await tx.fetchrow(
        _WINDOW + " AND person_id = $1 AND begins_at < $3 AND ends_at > $2"
        " AND (kinds IS NULL OR $4::text[] IS NULL OR kinds && $4) ORDER BY begins_at LIMIT 1",
        *(new.person_id, new.begins_at, new.ends_at, _kinds(new)),
    )
    return _window(row) if row is not None else None


async def add_window(tx: Tx, new: Window) -> None:
    await tx.execute(
        "INSERT INTO stand_in (id, person_id, stand_in_id, kinds, begins_at, ends_at, reason,"
        " created_by, created_at, move_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), $5)",
        *(new.id, new.person_id, new.stand_in_id, _kinds(new), new.begins_at, new.ends_at),
        *(new.reason.value, new.created_by),
    )


async def cancel_window(tx: Tx, id_: str, person: EmployeeId | None, by: str) -> bool:
    """Whether it was there to be called off; `person`: theirs only."""
    found = await tx.fetchval(
        "UPDATE stand_in SET cancelled_at = now(), cancelled_by = $3"
        " WHERE id = $1 AND ($2::text IS NULL OR person_id = $2)"
        " AND cancelled_at IS NULL AND ends_at > now() RETURNING true",
        *(id_, person, by),
    )
    return bool(found)


async def windows_of(tx: Tx, person: EmployeeId) -> list[Window]:
    """Those not over yet in which this person is away or stands in, the next to end first."""
    rows = await tx.fetch(
        _WINDOW + " AND (person_id = $1 OR stand_in_id = $1) AND ends_at > now()"
        " ORDER BY ends_at, id LIMIT 500",
        person,
    )
    return [_window(row) for row in rows]


async def take_window(tx: Tx, again: timedelta) -> Window | None:
    """One window in force by the database's clock, and due `again` after this while it holds.

    Two who ask at once get different ones.
    """
    row = await tx.fetchrow(
        "UPDATE stand_in SET move_at = CASE WHEN now() + $1 < ends_at THEN now() + $1 END"
        " WHERE id = (SELECT id FROM stand_in WHERE move_at <= now() AND cancelled_at IS NULL"
        "  AND ends_at > now() ORDER BY move_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, person_id, stand_in_id, kinds, begins_at, ends_at, reason, created_by",
        again,
    )
    return _window(row) if row is not None else None


async def put_off_window(tx: Tx, id_: str, by: timedelta) -> None:
    """Its tasks could not be moved: not before this much later."""
    await tx.execute(
        "UPDATE stand_in SET move_at = now() + $2 WHERE id = $1 AND move_at IS NOT NULL", id_, by
    )


def _kinds(window: Window) -> list[str] | None:
    return None if window.kinds is None else [kind.value for kind in window.kinds]


def _window(row: Record) -> Window:
    kinds = row["kinds"]
    return Window(
        id=row["id"],
        person_id=EmployeeId(row["person_id"]),
        stand_in_id=EmployeeId(row["stand_in_id"]),
        kinds=None if kinds is None else tuple(map(DocumentKind, kinds)),
        begins_at=row["begins_at"],
        ends_at=row["ends_at"],
        reason=Reason(row["reason"]),
        created_by=row["created_by"],
    )
