"""Working time: the hours of the week, public holidays and shifted workdays 调休."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

from chinese_calendar import constants as published  # type: ignore[import-untyped]

# China has kept one time without daylight saving since 1991; an offset needs no zone database.
ZONE = timezone(timedelta(hours=8), "Asia/Shanghai")
_HOUR = 3_600_000_000  # microseconds


class DayKind(StrEnum):
    """How an exceptional day differs from its day of the week."""

    WORKDAY = "workday"  # 调休上班: a weekend day that is worked
    HOLIDAY = "holiday"


@dataclass(frozen=True, slots=True)
class ExceptionalDay:
    """A day that does not follow the week, and the holiday it belongs to."""

    date: date
    kind: DayKind
    name: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The holiday arrangement of one year, whole: days it does not name follow the week.

    It may reach into the December before: New Year's notice of 2019 shifted 2018-12-29.
    """

    year: int
    days: tuple[ExceptionalDay, ...]

    def covers(self, day: date) -> bool:
        return day.year == self.year or (day.year, day.month) == (self.year - 1, 12)


@dataclass(frozen=True, slots=True)
class Span:
    """Working hours of one weekday without a break: ISO weekday 1 (Monday) to 7, local times."""

    weekday: int
    opens: time
    closes: time


Hours = tuple[Span, ...]
DEFAULT_HOURS: Hours = tuple(
    Span(weekday, opens, closes)
    for weekday in range(1, 6)
    for opens, closes in ((time(9), time(12)), (time(13), time(18)))
)


def first_clash(hours: Hours) -> int | None:
    """The place of the first span that ends before it begins, or begins inside one before it."""
    closed: dict[int, time] = {}
    for place, span in sorted(enumerate(hours), key=lambda one: (one[1].weekday, one[1].opens)):
        if span.closes <= span.opens or span.opens < closed.get(span.weekday, time.min):
            return place
        closed[span.weekday] = span.closes
    return None


def published_notices() -> tuple[Notice, ...]:
    """The notices of the State Council that the library knows, 2004 onwards."""
    days: dict[int, list[ExceptionalDay]] = {}
    for kind, named in (
        (DayKind.HOLIDAY, published.holidays),
        (DayKind.WORKDAY, published.workdays),
    ):
        for day, name in named.items():
            chinese = published.Holiday(name).chinese
            days.setdefault(day.year, []).append(ExceptionalDay(day, kind, chinese))
    return tuple(
        Notice(year, tuple(sorted(days[year], key=lambda day: day.date))) for year in sorted(days)
    )


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """When people work. Make it with `of`.

    A day of a year without a notice counts by its weekday alone: ask `is_complete` and say so.
    """

    hours: Hours
    notices: Mapping[int, Notice]
    _days: Mapping[date, ExceptionalDay] = field(repr=False)
    _week: Mapping[int, tuple[tuple[time, time], ...]] = field(repr=False)

    @classmethod
    def of(cls, notices: Iterable[Notice], hours: Hours = DEFAULT_HOURS) -> "WorkCalendar":
        """A later notice of the same year replaces an earlier one.

        Raises:
            ValueError: no one would ever work, or spans of one weekday overlap.
        """
        if not hours or first_clash(hours) is not None:
            raise ValueError("hours need a span, and spans of one weekday must not overlap")
        last = {notice.year: notice for notice in notices}
        # Where two years name one day, the later year's notice knew the earlier one's.
        days = {day.date: day for year in sorted(last) for day in last[year].days}
        week: dict[int, tuple[tuple[time, time], ...]] = {}
        for span in sorted(hours, key=lambda one: (one.weekday, one.opens)):
            week[span.weekday] = (*week.get(span.weekday, ()), (span.opens, span.closes))
        return cls(hours, last, days, week)

    def is_complete(self, year: int) -> bool:
        """Whether the holidays of this year are known."""
        return year in self.notices

    def is_workday(self, day: date) -> bool:
        return bool(self._spans(day))

    def after(self, start: datetime, hours: Decimal) -> datetime:
        """The instant, in UTC, at which this much working time has passed since `start`.

        It lies in working time, closing time included; 0 hours from outside it: the next opening.

        Raises:
            ValueError: `start` has no zone, or `hours` is negative.
        """
        if start.tzinfo is None or hours < 0:
            raise ValueError(f"start needs a zone, hours 0 or more: {start}, {hours}")
        left = timedelta(microseconds=int(hours * _HOUR))
        local = start.astimezone(ZONE)
        day = local.date()
        while True:
            for opens, closes in self._spans(day):
                begin = max(datetime.combine(day, opens, ZONE), local)
                room = datetime.combine(day, closes, ZONE) - begin
                if left <= room:
                    return (begin + left).astimezone(UTC)
                left -= max(room, timedelta(0))
            day += timedelta(days=1)

    def _spans(self, day: date) -> tuple[tuple[time, time], ...]:
        exception = self._days.get(day)
        spans = self._week.get(day.isoweekday(), ())
        if exception is None:
            return spans
        if exception.kind is DayKind.HOLIDAY:
            return ()
        # A shifted Saturday is worked like the first working day of the week.
        return spans or next(iter(self._week.values()))
