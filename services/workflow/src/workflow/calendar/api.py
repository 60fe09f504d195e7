"""The working calendar over HTTP: read by all, changed by administrators."""

from collections.abc import Sequence
from datetime import date, time
from typing import Annotated

from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import FieldRefusal, Text, language_of
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from workflow.calendar import handlers
from workflow.calendar.domain import (
    DayKind,
    ExceptionalDay,
    Notice,
    Span,
    WorkCalendar,
    first_clash,
)

_TWICE = Text("{date} 出现了两次，请只保留一行。", "{date} is there twice: keep one row.")
_OTHER_YEAR = Text(
    "{date} 不属于 {year} 年的放假安排；只接受该年及上一年 12 月的日期。",
    "{date} is no day of the notice of {year}: send days of that year or of the December before.",
)
_CLASH = Text(
    "第 {place} 段（星期 {weekday} {opens}–{closes}）结束不晚于开始，或与另一段重叠，请改正。",
    "Span {place} (weekday {weekday}, {opens} to {closes}) ends before it begins or overlaps"
    " another: correct it.",
)
_NOT_LOCAL = Text("请填本地时间，不带时区，如 09:00。", "Send a local time, no zone, as 09:00.")
_UNKNOWN_YEAR = Text(
    "{year} 年的放假安排尚未导入：节假日暂按普通星期计算。请管理员用 PUT /api/calendar/days 导入。",
    "The holidays of {year} are not known: its days count by their weekday alone."
    " An administrator imports the notice by PUT /api/calendar/days.",
)
_ADMIN = [needs("admin")]
_Year = Annotated[int, Field(ge=2004, le=2100)]
router = APIRouter(prefix="/api/calendar")


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise FieldRefusal(_NOT_LOCAL)
    return value


class Day(BaseModel):
    """One day that does not follow the week."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, str_strip_whitespace=True)

    date: date
    kind: DayKind
    name: Annotated[str, Field(min_length=1, max_length=50, description="国庆节")]


class NoticeRequest(BaseModel):
    """The whole holiday arrangement of one year."""

    model_config = ConfigDict(extra="forbid")

    year: _Year
    days: list[Day] = Field(min_length=1, max_length=120)

    @field_validator("days")
    @classmethod
    def _of_that_year(cls, days: list[Day], info: ValidationInfo) -> list[Day]:
        seen: set[date] = set()
        for day in days:
            if day.date in seen:
                raise FieldRefusal(_TWICE, date=day.date.isoformat())
            seen.add(day.date)
            year = info.data.get("year")
            if year is not None and not Notice(year, ()).covers(day.date):
                raise FieldRefusal(_OTHER_YEAR, date=day.date.isoformat(), year=year)
        return days


class WorkingSpan(BaseModel):
    """Working hours without a break, on one day of the week."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    weekday: int = Field(ge=1, le=7, description="1 is Monday")
    opens: Annotated[time, AfterValidator(_local)]
    closes: Annotated[time, AfterValidator(_local)]


class HoursRequest(BaseModel):
    """The working hours of the week; a day of the week without any is free."""

    model_config = ConfigDict(extra="forbid")

    hours: list[WorkingSpan] = Field(min_length=1, max_length=42)

    @field_validator("hours")
    @classmethod
    def _apart(cls, hours: list[WorkingSpan]) -> list[WorkingSpan]:
        place = first_clash(_spans(hours))
        if place is not None:
            raise FieldRefusal(_CLASH, place=place + 1, **hours[place].model_dump())
        return hours


class CalendarView(BaseModel):
    """One year: the hours of its weeks and the days that do not follow them."""

    year: int
    complete: bool = Field(description="false: the holidays of this year are not known")
    warning: str | None = Field(description="what to do about it")
    hours: list[WorkingSpan]
    days: list[Day] = Field(description="those of this year's notice")


@router.get("")
async def calendar(
    _me: Me, request: Request, database: Db, year: Annotated[_Year, Query()]
) -> CalendarView:
    """The calendar of a year; its days can be changed and sent back."""
    async with database.transaction() as tx:
        return _view(await handlers.calendar(tx), year, language_of(request))


@router.put("/days", dependencies=_ADMIN)
async def import_days(sent: NoticeRequest, me: Me, request: Request, database: Db) -> CalendarView:
    """Import the notice of a year; sent again it replaces what was known of that year."""
    days = (ExceptionalDay(day.date, day.kind, day.name) for day in sent.days)
    notice = Notice(sent.year, tuple(sorted(days, key=lambda day: day.date)))
    async with database.transaction() as tx:
        changed = await handlers.import_notice(tx, notice, me.subject)
    return _view(changed, sent.year, language_of(request))


@router.put("/hours", dependencies=_ADMIN)
async def set_hours(sent: HoursRequest, me: Me, database: Db) -> HoursRequest:
    """Set the working hours of the week. Deadlines already running keep their instants."""
    async with database.transaction() as tx:
        changed = await handlers.set_hours(tx, _spans(sent.hours), me.subject)
    return HoursRequest(hours=[WorkingSpan.model_validate(span) for span in changed.hours])


def _spans(hours: Sequence[WorkingSpan]) -> tuple[Span, ...]:
    return tuple(Span(span.weekday, span.opens, span.closes) for span in hours)


def _view(found: WorkCalendar, year: int, language: str) -> CalendarView:
    complete = found.is_complete(year)
    notice = found.notices[year].days if complete else ()
    return CalendarView(
        year=year,
        complete=complete,
        warning=None if complete else _UNKNOWN_YEAR.say(language, {"year": year}),
        hours=[WorkingSpan.model_validate(span) for span in found.hours],
        days=[Day.model_validate(day) for day in notice],
    )
