"""Working time over weekends, holidays, shifted workdays and lunch; and the calendar as data."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import httpx
import pytest
from chassis.http import Edge
from chassis.testing import api_client
from hypothesis import given
from hypothesis import strategies as st
from workflow.calendar import api, handlers
from workflow.calendar.domain import (
    ZONE,
    DayKind,
    ExceptionalDay,
    Notice,
    Span,
    WorkCalendar,
    published_notices,
)

CALENDAR = WorkCalendar.of(published_notices())


def at(text: str) -> datetime:
    """A local time of the office."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.mark.parametrize(
    ("day", "is_workday"),
    [
        ("2026-09-20", True),  # a Sunday, worked for National Day
        ("2026-10-01", False),
        ("2026-10-07", False),
        ("2026-10-08", True),
        ("2026-10-10", True),  # a Saturday, worked for National Day
        ("2026-10-11", False),
        ("2026-02-14", True),
        ("2026-02-15", False),
        ("2026-02-23", False),
        ("2026-02-24", True),
        ("2026-02-28", True),
        ("2018-12-29", True),
    ],
)
def test_holidays_and_shifted_workdays_are_the_published_ones(day: str, is_workday: bool) -> None:
    assert CALENDAR.is_workday(date.fromisoformat(day)) is is_workday


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        pytest.param("2026-11-24T09:30", "2", "2026-11-24T11:30", id="within a morning"),
        pytest.param("2026-11-24T11:00", "2", "2026-11-24T14:00", id="over lunch"),
        pytest.param("2026-11-24T12:30", "1", "2026-11-24T14:00", id="from lunch"),
        pytest.param("2026-11-24T07:00", "1", "2026-11-24T10:00", id="from before work"),
        pytest.param("2026-11-24T20:00", "1", "2026-11-25T10:00", id="from the evening"),
        pytest.param("2026-11-24T17:00", "1", "2026-11-24T18:00", id="to the end of the day"),
        pytest.param("2026-11-24T17:00", "1.25", "2026-11-25T09:15", id="a quarter more"),
        pytest.param("2026-11-27T17:00", "2", "2026-11-30T10:00", id="over a weekend"),
        pytest.param("2026-11-28T12:00", "0", "2026-11-30T09:00", id="nothing, from a Saturday"),
        pytest.param("2026-11-24T10:00", "0", "2026-11-24T10:00", id="nothing, from work"),
        pytest.param("2026-09-30T17:00", "2", "2026-10-08T10:00", id="over National Day"),
        pytest.param("2026-10-09T17:00", "9", "2026-10-10T18:00", id="on the shifted Saturday"),
        pytest.param("2026-10-09T17:00", "10", "2026-10-12T10:00", id="beyond it"),
        pytest.param("2026-02-14T17:30", "1", "2026-02-24T09:30", id="over Spring Festival"),
        pytest.param("2026-11-24T09:00", "40", "2026-11-30T18:00", id="a week of work"),
        pytest.param("2026-12-31T17:00", "2", "2027-01-01T10:00", id="into a year not known"),
    ],
)
def test_deadline_falls_after_that_much_working_time(start: str, hours: str, end: str) -> None:
    due = CALENDAR.after(at(start), Decimal(hours))
    assert due == at(end)
    assert due.tzinfo is UTC


def test_start_in_another_zone_is_the_same_instant() -> None:
    start = at("2026-11-24T09:30")
    assert CALENDAR.after(start.astimezone(UTC), Decimal(3)) == CALENDAR.after(start, Decimal(3))


@pytest.mark.parametrize(
    ("start", "hours"),
    [(at("2026-11-24T09:00").replace(tzinfo=None), "1"), (at("2026-11-24T09:00"), "-1")],
)
def test_start_without_a_zone_and_negative_hours_are_refused(start: datetime, hours: str) -> None:
    with pytest.raises(ValueError, match="start needs a zone"):
        CALENDAR.after(start, Decimal(hours))


instants = st.integers(0, 3 * 365 * 86_400).map(
    lambda seconds: at("2025-01-01T00:00") + timedelta(seconds=seconds)
)
amounts = st.decimals(0, 400, places=4)


@given(instants, amounts)
def test_deadline_lies_in_working_time_and_not_before_its_start(start, hours) -> None:
    due = CALENDAR.after(start, hours)
    local = due.astimezone(ZONE)
    assert due >= start
    assert CALENDAR.is_workday(local.date())
    assert time(9) <= local.time() <= time(12) or time(13) <= local.time() <= time(18)


@given(instants, instants, amounts)
def test_who_starts_later_is_not_due_earlier(one, other, hours) -> None:
    first, second = sorted((one, other))
    assert CALENDAR.after(first, hours) <= CALENDAR.after(second, hours)


@given(instants, amounts, amounts)
def test_working_time_adds_up(start, first, then) -> None:
    whole = CALENDAR.after(start, first + then)
    assert CALENDAR.after(start, first) <= whole
    assert CALENDAR.after(CALENDAR.after(start, first), then) == whole


def test_notice_replaces_what_was_known_of_its_year() -> None:
    free = ExceptionalDay(date(2026, 11, 26), DayKind.HOLIDAY, "公司日")
    changed = WorkCalendar.of([*published_notices(), Notice(2026, (free,))])
    assert not changed.is_workday(date(2026, 11, 26))
    assert changed.is_workday(date(2026, 10, 1))
    assert not changed.is_workday(date(2025, 10, 1))


def test_notice_may_shift_the_december_before() -> None:
    worked = ExceptionalDay(date(2026, 12, 26), DayKind.WORKDAY, "元旦")
    changed = WorkCalendar.of([*published_notices(), Notice(2027, (worked,))])
    assert changed.is_workday(date(2026, 12, 26))
    assert changed.after(at("2026-12-25T17:00"), Decimal(2)) == at("2026-12-26T10:00")


def test_hours_of_a_weekday_are_the_companys_own() -> None:
    short = (Span(6, time(10), time(14)), Span(1, time(8), time(20)))
    changed = WorkCalendar.of(published_notices(), short)
    assert changed.after(at("2026-11-27T09:00"), Decimal(5)) == at("2026-11-30T09:00")
    # A shifted day without hours of its own is worked like the first working day of the week.
    assert changed.after(at("2026-09-20T07:00"), Decimal(1)) == at("2026-09-20T09:00")


@pytest.mark.parametrize(
    "hours",
    [
        (),
        (Span(1, time(9), time(9)),),
        (Span(1, time(9), time(12)), Span(1, time(11), time(13))),
    ],
)
def test_hours_that_make_no_week_are_refused(hours: tuple[Span, ...]) -> None:
    with pytest.raises(ValueError, match="hours need a span"):
        WorkCalendar.of(published_notices(), hours)


@pytest.fixture
async def http(database, issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    async with api_client(Edge("workflow", database, verifier, [api.router])) as client:
        client.headers.update({"accept-language": "en"} | issuer.bearer("ada", "admin"))
        yield client
    await verifier.close()


NEW_YEAR = {"date": "2027-01-01", "kind": "holiday", "name": "元旦"}


async def test_year_without_a_notice_says_so(http) -> None:
    known = (await http.get("/api/calendar", params={"year": 2026})).json()
    assert (known["complete"], known["warning"]) == (True, None)
    assert {"date": "2026-10-10", "kind": "workday", "name": "国庆节"} in known["days"]
    unknown = (await http.get("/api/calendar", params={"year": 2027})).json()
    assert (unknown["complete"], unknown["days"]) == (False, [])
    assert "holidays of 2027 are not known" in unknown["warning"]


async def test_imported_notice_counts_at_once_and_can_be_sent_again(http, database) -> None:
    sent = {"year": 2027, "days": [NEW_YEAR]}
    for _ in range(2):
        answer = await http.put("/api/calendar/days", json=sent)
        assert (answer.status_code, answer.json()["complete"]) == (200, True)
    async with database.transaction() as tx:
        found = await handlers.calendar(tx)
    assert found.is_complete(2027)
    assert found.after(at("2026-12-31T17:00"), Decimal(2)) == at("2027-01-04T10:00")
    assert handlers.KNOWN_TO.collect()[0].samples[0].value == 2027


async def test_changed_hours_count_at_once(http, database) -> None:
    hours = [{"weekday": 1, "opens": "10:00:00", "closes": "16:00:00"}]
    answer = await http.put("/api/calendar/hours", json={"hours": hours})
    assert (answer.status_code, answer.json()["hours"]) == (200, hours)
    async with database.transaction() as tx:
        found = await handlers.calendar(tx)
    assert found.after(at("2026-11-24T10:00"), Decimal(1)) == at("2026-11-30T11:00")


async def test_calendar_is_read_by_all_and_changed_by_administrators(http, issuer) -> None:
    lin = issuer.bearer("lin", "employee")
    read = await http.get("/api/calendar", params={"year": 2026}, headers=lin)
    assert read.status_code == 200
    for path in ("days", "hours"):
        refused = await http.put(f"/api/calendar/{path}", json={}, headers=lin)
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("path", "sent", "field", "says"),
    [
        ("days", {"year": 2027, "days": [NEW_YEAR, NEW_YEAR]}, "/days", "is there twice"),
        ("days", {"year": 2028, "days": [NEW_YEAR]}, "/days", "no day of the notice of 2028"),
        ("days", {"year": 2027, "days": []}, "/days", "At least 1"),
        ("days", {"year": 20270, "days": [NEW_YEAR]}, "/year", "at most 2100"),
        ("days", {"year": 2027, "days": [NEW_YEAR | {"kind": "day off"}]}, "/days/0/kind", "holi"),
        ("hours", {"hours": []}, "/hours", "At least 1"),
        (
            "hours",
            {"hours": [{"weekday": 1, "opens": "09:00", "closes": "08:00"}]},
            "/hours",
            "Span 1",
        ),
        (
            "hours",
            {"hours": [{"weekday": 1, "opens": "09:00+08:00", "closes": "18:00"}]},
            "/hours/0/opens",
            "no zone",
        ),
    ],
)
async def test_wrong_calendar_is_refused_with_field_and_way_out(
    http, path, sent, field, says
) -> None:
    answer = await http.put(f"/api/calendar/{path}", json=sent)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert says in error["detail"]
