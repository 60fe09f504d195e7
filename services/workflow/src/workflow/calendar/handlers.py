"""The calendar in force, and new notices and hours for it."""

from functools import lru_cache

import structlog
from chassis import Tx
from prometheus_client import Gauge

from workflow.calendar import store
from workflow.calendar.domain import (
    DEFAULT_HOURS,
    Hours,
    Notice,
    WorkCalendar,
    published_notices,
)

log = structlog.get_logger()
KNOWN_TO = Gauge(
    "tonglu_workflow_calendar_year",
    "Last year whose holidays are known; deadlines after it count holidays as workdays.",
)
KNOWN_TO.set(published_notices()[-1].year)


async def calendar(tx: Tx) -> WorkCalendar:
    """The published calendar with what the company has imported over it; one small query."""
    return _compiled(await store.parts(tx))


async def import_notice(tx: Tx, notice: Notice, by: str) -> WorkCalendar:
    """Take this as the whole notice of its year, in place of one that was known before."""
    await store.save_notice(tx, notice, by)
    log.info("calendar changed", part=notice.year, by=by)
    return await calendar(tx)


async def set_hours(tx: Tx, hours: Hours, by: str) -> WorkCalendar:
    """Take these as the working hours of the week. Instants computed before stay as they are."""
    await store.save_hours(tx, hours, by)
    log.info("calendar changed", part="hours", by=by)
    return await calendar(tx)


# Keyed by the content itself: another process's import is seen at the next call.
@lru_cache(maxsize=4)
def _compiled(parts: tuple[tuple[str, str], ...]) -> WorkCalendar:
    made = WorkCalendar.of(
        [*published_notices(), *store.notices_of(parts)], store.hours_of(parts) or DEFAULT_HOURS
    )
    KNOWN_TO.set(max(made.notices))
    return made
