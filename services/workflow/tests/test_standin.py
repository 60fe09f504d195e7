"""Who stands in for whom, when a window holds, and which windows are refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from chassis.http import Edge
from chassis.testing import api_client
from events import EmployeeId
from events.workflow import DocumentKind
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from workflow.directory import handlers as directory_handlers
from workflow.standin import api, handlers
from workflow.standin.domain import Reason, Window, WindowsOverlap, end_of_chain, ends_of_chains

CLAIM, TRIP = DocumentKind.CLAIM, DocumentKind.TRIP
LONG_AGO, SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
people = st.sampled_from("abcdef")


@pytest.mark.parametrize(
    ("next_of", "end"),
    [
        ({}, None),
        ({"a": "b"}, "b"),
        ({"a": "b", "b": "c"}, "c"),
        ({"a": "b", "b": "a"}, None),
        ({"a": "b", "b": "c", "c": "b"}, None),  # a circle that does not come back to the start
        ({"b": "c"}, None),
    ],
)
def test_chain_ends_at_the_last_who_is_there_and_a_circle_at_nobody(next_of, end) -> None:
    assert end_of_chain("a", next_of) == end


@given(st.dictionaries(people, people))
def test_every_chain_ends_at_someone_else_who_is_not_away(next_of) -> None:
    ends = ends_of_chains("abcdef", next_of)
    for person, end in ends.items():
        assert end != person
        assert end not in next_of
    for person in set(next_of) - set(ends):  # all others run into a circle
        last = person
        for _ in range(len(next_of) + 1):
            last = next_of[last]
        assert last in next_of


@pytest.fixture
def name(database):
    """Name a stand-in: from, to whom, and what is not usual about it."""
    count = 0

    async def add(person: str, stand_in: str, **changed) -> Window:
        nonlocal count
        count += 1
        asked = {
            "id": f"w-{count}",
            "person_id": EmployeeId(person),
            "stand_in_id": EmployeeId(stand_in),
            "kinds": None,
            "begins_at": LONG_AGO,
            "ends_at": SOME_DAY,
            "reason": Reason.LEAVE,
            "created_by": "test",
        }
        window = Window(**(asked | changed))
        async with database.transaction() as tx:
            await handlers.add_window(tx, window)
        return window

    return add


@pytest.fixture
def deciding(database):
    """Who decides for these people, of those who are away."""

    async def ask(*asked: str, kind: DocumentKind = CLAIM, at: datetime | None = None) -> dict:
        async with database.transaction() as tx:
            return dict(await handlers.stand_ins(tx, asked, kind, at or tx.now))

    return ask


async def test_stand_in_decides_within_the_window_only(name, deciding) -> None:
    begins, ends = SOME_DAY - 2 * HOUR, SOME_DAY - HOUR
    await name("wang", "zhao", begins_at=begins, ends_at=ends)
    tick = timedelta(microseconds=1)
    assert await deciding("wang", at=begins - tick) == {}
    assert await deciding("wang", at=begins) == {"wang": "zhao"}
    assert await deciding("wang", at=ends - tick) == {"wang": "zhao"}
    assert await deciding("wang", at=ends) == {}


async def test_stand_in_of_a_stand_in_who_is_away_decides(name, deciding) -> None:
    await name("wang", "zhao")
    await name("zhao", "chen")
    assert await deciding("wang", "zhao", "lin") == {"wang": "chen", "zhao": "chen"}


async def test_two_who_stand_in_for_each_other_keep_their_tasks(name, deciding) -> None:
    await name("wang", "zhao")
    await name("zhao", "wang")
    assert await deciding("wang", "zhao") == {}


async def test_window_of_one_kind_leaves_the_others_alone(name, deciding) -> None:
    await name("wang", "zhao", kinds=(TRIP,))
    await name("wang", "chen", kinds=(CLAIM,))
    await name("zhao", "lin", kinds=(CLAIM,))
    assert await deciding("wang", kind=TRIP) == {"wang": "zhao"}
    assert await deciding("wang", kind=CLAIM) == {"wang": "chen"}
    assert await deciding("wang", kind=DocumentKind.ADVANCE) == {}


async def test_stand_in_who_has_left_stands_in_for_nobody(
    name, deciding, database, employee, received_people
) -> None:
    await name("wang", "zhao")
    await received_people(employee("zhao", "chen", status="left"))
    assert await deciding("wang") == {}


@pytest.fixture
def received_people(database):
    """Bring news of people to our copy of the directory."""

    class News:
        def __init__(self, event) -> None:
            self.event = event

    async def tell(*news) -> None:
        async with database.transaction() as tx:
            await directory_handlers.on_employees(tx, [News(person) for person in news])

    return tell


async def test_windows_may_touch_but_not_overlap(name) -> None:
    middle, end = SOME_DAY - 2 * HOUR, SOME_DAY - HOUR
    first = await name("wang", "zhao", begins_at=LONG_AGO, ends_at=middle)
    await name("wang", "chen", begins_at=middle, ends_at=end)
    with pytest.raises(WindowsOverlap) as refused:
        await name("wang", "lin", begins_at=middle - HOUR, ends_at=middle)
    assert refused.value.window_id == first.id
    with pytest.raises(WindowsOverlap):
        await name("wang", "lin", kinds=(TRIP,), begins_at=end - HOUR, ends_at=SOME_DAY)
    await name("zhao", "lin", begins_at=LONG_AGO, ends_at=end)  # another person's


async def test_two_windows_at_once_for_one_person_leave_one(name) -> None:
    results = await asyncio.gather(
        *(name("wang", other) for other in ("zhao", "chen", "lin", "wei")), return_exceptions=True
    )
    assert sum(isinstance(result, Window) for result in results) == 1
    assert sum(isinstance(result, WindowsOverlap) for result in results) == 3


@pytest.fixture
def take(database):
    """The next window that has tasks to move; `fails`: they cannot."""

    async def take_one(*, fails: bool = False) -> Window | None:
        async with database.transaction() as tx:
            window = await handlers.take_window(tx)
            if fails:
                raise ZeroDivisionError
        return window

    return take_one


async def test_window_that_has_begun_comes_once_whoever_asks(name, take) -> None:
    begun = await name("wang", "zhao")
    await name("zhao", "chen", begins_at=SOME_DAY - HOUR)
    found = await asyncio.gather(*(take() for _ in range(4)))
    assert [window for window in found if window is not None] == [begun]


async def test_window_comes_again_now_and_then_for_as_long_as_it_holds(
    name, take, database
) -> None:
    begun = await name("wang", "zhao")
    assert await take() == begun
    assert await take() is None
    await database.pool.execute("UPDATE stand_in SET move_at = move_at - interval '5 minutes'")
    assert await take() == begun
    await database.pool.execute(
        "UPDATE stand_in SET move_at = now(), ends_at = now() + interval '4 minutes'"
    )
    assert replace(begun, ends_at=SOME_DAY) == replace(await take(), ends_at=SOME_DAY)
    assert await database.pool.fetchval("SELECT move_at FROM stand_in") is None


async def test_window_whose_transaction_failed_comes_again(name, take) -> None:
    begun = await name("wang", "zhao")
    with pytest.raises(ZeroDivisionError):
        await take(fails=True)
    assert await take() == begun


async def test_window_that_is_put_off_lets_others_go_first(name, take, database) -> None:
    first = await name("wang", "zhao")
    second = await name("lin", "zhao", begins_at=LONG_AGO + HOUR)
    async with database.transaction() as tx:
        await handlers.put_off_window(tx, first, HOUR)
    assert await take() == second
    assert await take() is None


@pytest.fixture
async def http(database, issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    edge = Edge("workflow", database, verifier, [api.router], api.REFUSALS)
    async with api_client(edge) as client:
        client.headers["accept-language"] = "en"
        yield client
    await verifier.close()


@pytest.fixture
def ask(http, issuer):
    """Ask for a window as somebody; `said` replaces parts of a plain one."""

    async def post(who: str = "wang", role: str = "employee", key: str = "k-1", **said):
        body = {
            "stand_in_id": "zhao",
            "begins_at": "2026-12-01T00:00:00+08:00",
            "ends_at": "2099-01-01T00:00:00+08:00",
        } | said
        headers = issuer.bearer(who, role) | {"idempotency-key": key}
        return await http.post("/api/stand-ins", json=body, headers=headers)

    return post


async def test_person_names_a_stand_in_and_both_see_it(ask, http, issuer) -> None:
    made = await ask(kinds=["trip", "claim", "trip"], reason="delegation")
    assert made.status_code == 201
    window = made.json()
    assert (window["person_id"], window["stand_in_id"]) == ("wang", "zhao")
    assert (window["kinds"], window["created_by"]) == (["claim", "trip"], "wang")
    for who in ("wang", "zhao"):
        seen = await http.get("/api/stand-ins", headers=issuer.bearer(who, "employee"))
        assert seen.json()["items"] == [window]
    lin = await http.get("/api/stand-ins", headers=issuer.bearer("lin", "employee"))
    assert lin.json()["items"] == []


async def test_window_asked_for_twice_under_one_key_is_one(ask, http, issuer) -> None:
    first, second = await ask(), await ask()
    assert first.json() == second.json()
    seen = await http.get("/api/stand-ins", headers=issuer.bearer("wang", "employee"))
    assert len(seen.json()["items"]) == 1


async def test_administrator_brings_anyones_leave_and_others_only_their_own(
    ask, http, issuer
) -> None:
    refused = await ask("lin", person_id="wang", key="k-0")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:tonglu:problem:forbidden")
    made = await ask("ada", "admin", person_id="wang")
    assert (made.json()["person_id"], made.json()["created_by"]) == ("wang", "ada")
    asked = {"person_id": "wang"}
    admin, lin = issuer.bearer("ada", "admin"), issuer.bearer("lin", "employee")
    assert (await http.get("/api/stand-ins", params=asked, headers=lin)).status_code == 403
    seen = await http.get("/api/stand-ins", params=asked, headers=admin)
    assert seen.json()["items"] == [made.json()]


async def test_window_is_called_off_by_its_person_and_makes_room(
    ask, http, issuer, deciding
) -> None:
    window = (await ask()).json()

    async def call_off(who: str) -> int:
        path = f"/api/stand-ins/{window['id']}"
        answer = await http.delete(path, headers=issuer.bearer(who, "employee"))
        return answer.status_code

    during = SOME_DAY - HOUR * 24 * 30
    assert await call_off("zhao") == 404
    assert await deciding("wang", at=during) == {"wang": "zhao"}
    assert await call_off("wang") == 204
    assert await call_off("wang") == 404
    assert await deciding("wang", at=during) == {}
    assert (await ask(key="k-2")).status_code == 201


@pytest.mark.parametrize(
    ("said", "status", "slug", "says"),
    [
        ({"stand_in_id": "wang"}, 422, "stand-in-is-self", "name someone else"),
        ({"stand_in_id": "nobody"}, 422, "person-not-here", "nobody is unknown or has left"),
        ({"person_id": "gone"}, 422, "person-not-here", "gone is unknown or has left"),
        ({"ends_at": "2026-11-30T00:00:00Z"}, 422, "window-empty", "later than begins_at"),
        (
            {"begins_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"},
            422,
            "window-over",
            "has passed",
        ),
    ],
)
async def test_window_that_cannot_hold_is_refused_with_the_way_out(
    ask, said, status, slug, says
) -> None:
    answer = await ask(role="admin", **said)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:tonglu:problem:{slug}")
    assert says in answer.json()["detail"]


async def test_overlapping_window_is_refused_in_the_callers_language(ask, http) -> None:
    first = (await ask()).json()
    http.headers["accept-language"] = "zh"
    refused = await ask(stand_in_id="chen", kinds=["trip"], key="k-2")
    assert (refused.status_code, refused.json()["window_id"]) == (409, first["id"])
    assert "请先取消它" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"kinds": []}, "/kinds"),
        ({"kinds": ["UNKNOWN"]}, "/kinds/0"),
        ({"begins_at": "2026-12-01T00:00:00"}, "/begins_at"),
        ({"ends_at": "9999-12-31T23:59:59-08:00"}, "/ends_at"),
        ({"stand_in_id": "a\x00b"}, "/stand_in_id"),
        ({"reason": "holiday"}, "/reason"),
        ({"note": "x"}, "/note"),
    ],
)
async def test_malformed_window_is_refused_by_field(ask, said, field) -> None:
    answer = await ask(**said)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
