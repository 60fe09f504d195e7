"""All SQL of the calendar."""

from chassis import Tx
from pydantic import TypeAdapter

from workflow.calendar.domain import Hours, Notice

NOTICE: TypeAdapter[Notice] = TypeAdapter(Notice)
HOURS: TypeAdapter[Hours] = TypeAdapter(Hours)
_HOURS_PART = "hours"


async def parts(tx: Tx) -> tuple[tuple[str, str], ...]:
    """What was imported over the published calendar: part and its JSON, as `compiled` reads it."""
    rows = await tx.fetch("SELECT part, document::text FROM calendar_part ORDER BY part")
    return tuple((row["part"], row["document"]) for row in rows)


def hours_of(parts: tuple[tuple[str, str], ...]) -> Hours | None:
    """The company's own working hours among the parts."""
    found = [HOURS.validate_json(text) for part, text in parts if part == _HOURS_PART]
    return found[0] if found else None


def notices_of(parts: tuple[tuple[str, str], ...]) -> list[Notice]:
    return [NOTICE.validate_json(text) for part, text in parts if part != _HOURS_PART]


async def save_notice(tx: Tx, notice: Notice, by: str) -> None:
    await _save(tx, str(notice.year), NOTICE.dump_json(notice).decode(), by)


async def save_hours(tx: Tx, hours: Hours, by: str) -> None:
    await _save(tx, _HOURS_PART, HOURS.dump_json(hours).decode(), by)


async def _save(tx: Tx, part: str, document: str, by: str) -> None:
    await tx.execute(
        "INSERT INTO calendar_part (part, document, changed_by, changed_at)"
        " VALUES ($1, $2::jsonb, $3, now())"
        " ON CONFLICT (part) DO UPDATE SET document = excluded.document,"
        " changed_by = excluded.changed_by, changed_at = excluded.changed_at",
        *(part, document, by),
    )
