"""Plan and apply on a real database: whole or not at all, only changes are emitted."""

import asyncio
from pathlib import Path

import pytest
from chassis import Database
from directory_sync import handlers, store
from directory_sync.delivery import Follower
from directory_sync.domain.plan import (
    AnotherRunIsOn,
    Order,
    SourceBroken,
    Threshold,
    TooManyLeave,
)
from directory_sync.domain.snapshot import Department, Person, Reading, Snapshot
from directory_sync.sources.files import Files

LIMITS = Threshold(percent=10, people=50)
RESULTS = "SELECT string_agg(result, ' ' ORDER BY run_id) FROM sync_run"
RUN = store.Run("E1005", "files", "0" * 64)


async def apply(database: Database, reading: Reading, order: Order = Order()):  # noqa: B008
    run = store.Run("E1005", "files", reading.digest)
    async with database.transaction() as tx:
        _, plan = await handlers.apply_snapshot(tx, reading, order, LIMITS, run)
        return plan, tx.emitted


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "people.csv"
    path.write_text(path.read_text().replace(old, new))


def replace(path: Path, text: str) -> None:
    """In one step, so that a follower never reads half of it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def drop(folder: Path, *ids: str) -> None:
    path = folder / "people.csv"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(ids)]
    replace(path, "\n".join([*kept[:-1], f"#rows={len(kept) - 2}\n"]))


def company_of(size: int) -> Reading:
    people = tuple(Person(f"P{n}", f"员工{n}", None, "D1", None, (), "zh") for n in range(size))
    return Reading(
        "0" * 64, (), Snapshot(people, (Department("D1", "研发", None, None),), "0" * 64)
    )


async def test_first_run_emits_everyone_and_the_second_nothing(database, company) -> None:
    reading = await Files(company).read()
    plan, emitted = await apply(database, reading)
    assert (plan.counts["added"], plan.counts["departments_added"]) == (16, 8)
    assert [type(event).__name__ for event in emitted] == ["DepartmentUpdated"] * 8 + [
        "EmployeeUpdated"
    ] * 16
    plan, emitted = await apply(database, reading)
    assert plan.is_empty
    assert emitted == ()
    assert await database.pool.fetchval(
        "SELECT array_agg(result ORDER BY run_id) FROM sync_run"
    ) == [
        "applied",
        "unchanged",
    ]


async def test_only_what_changed_is_emitted_whole(database, company) -> None:
    await apply(database, await Files(company).read())
    edit(company, "E1001,林晓,lin.xiao@example.com,D110,E1002", "E1001,林晓,,D111,E1006")
    _, (event,) = await apply(database, await Files(company).read())
    assert event.employee_id == "E1001"
    assert (event.email, event.department_id, event.manager_id) == (None, "D111", "E1006")
    assert event.name == "林晓"


async def test_person_who_left_stays_known_and_may_return(database, company) -> None:
    whole = await Files(company).read()
    await apply(database, whole)
    drop(company, "E1016")
    _, (gone,) = await apply(database, await Files(company).read())
    assert (gone.employee_id, gone.status, gone.name) == ("E1016", "left", "唐宁")
    _, emitted = await apply(database, await Files(company).read())
    assert emitted == ()
    plan, (back,) = await apply(database, whole)
    assert plan.ids["returned"] == ["E1016"]
    assert back.status == "active"


async def test_too_many_leavers_are_refused_and_the_old_state_stands(database, company) -> None:
    await apply(database, await Files(company).read())
    drop(company, "E1016", "E1015")
    reading = await Files(company).read()
    with pytest.raises(TooManyLeave) as refused:
        await apply(database, reading)
    assert (refused.value.leaving, refused.value.active) == (2, 16)
    assert await database.pool.fetchval("SELECT count(*) FROM employee WHERE status = 'left'") == 0
    plan, emitted = await apply(database, reading, Order(refused.value.digest, force=True))
    assert plan.counts["left"] == len(emitted) == 2


async def test_truncated_file_is_refused_and_the_old_state_stands(database, company) -> None:
    await apply(database, await Files(company).read())
    whole = (company / "people.csv").read_bytes()
    (company / "people.csv").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceBroken):
        await apply(database, await Files(company).read())
    assert await database.pool.fetchval("SELECT count(*) FROM employee") == 16
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 24


async def test_of_two_runs_at_once_one_is_refused(database, company) -> None:
    reading = await Files(company).read()
    async with database.transaction() as tx:
        await handlers.apply_snapshot(tx, reading, Order(), LIMITS, RUN)
        with pytest.raises(AnotherRunIsOn):
            await apply(database, reading)
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 24


async def test_twenty_thousand_people_take_as_many_statements_as_twenty(database) -> None:
    statements = []

    async def run(reading: Reading) -> int:
        async with database.transaction() as tx:
            with tx.connection.query_logger(lambda record: statements.append(record.query)):
                _, plan = await handlers.apply_snapshot(
                    tx, reading, Order(), Threshold(100, 10**6), RUN
                )
                await tx.write_facts()
        return plan.counts["added"]

    assert await run(company_of(20)) == 20
    few = len(statements)
    assert await run(company_of(20_000)) == 19_980
    assert len(statements) - few <= few
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 20_001


async def test_follower_applies_at_the_start_and_what_changes_later(database, company) -> None:
    draining = asyncio.Event()
    follower = Follower(Files(company), LIMITS, at_start=True, every=0.02)
    task = asyncio.ensure_future(follower.follow(database, draining))

    async def eventually(results: str) -> None:
        async with asyncio.timeout(20):
            while await database.pool.fetchval(RESULTS) != results:  # noqa: ASYNC110 -- a row
                await asyncio.sleep(0.02)

    await eventually("applied")
    whole = (company / "people.csv").read_text()
    drop(company, "E1016", "E1015", "E1014")
    await eventually("applied refused")
    replace(company / "people.csv", whole)
    await eventually("applied refused unchanged")
    draining.set()
    await asyncio.wait_for(task, 5)
    reason = await database.pool.fetchval("SELECT reason FROM sync_run WHERE result = 'refused'")
    assert reason == "TooManyLeave"


async def test_follower_without_a_start_finds_what_changed_while_it_was_down(
    database, company
) -> None:
    reading = await Files(company).read()
    await apply(database, reading)
    follower = Follower(Files(company), LIMITS, every=60.0)
    assert await follower._look(database, is_due=False)
    assert await database.pool.fetchval(RESULTS) == "applied"
    edit(company, "林晓", "林小")
    assert await follower._look(database, is_due=False)
    assert await database.pool.fetchval(RESULTS) == "applied applied"
