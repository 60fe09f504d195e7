"""What time brings: deadlines and windows of stand-ins, each acted on once, by database time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from chassis import Database, Received, failpoints
from events import EmployeeId, Envelope, Event, EventId
from events.claims import ClaimSubmitted
from events.workflow import (
    ApprovalDecided,
    ApprovalOverdue,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    Closing,
    DocumentKind,
    OverdueAction,
    Verb,
)
from uuid_utils.compat import uuid7
from workflow.approval import delivery, handlers
from workflow.definition.domain import parse_definition
from workflow.definition.handlers import import_definitions
from workflow.directory.handlers import on_employees
from workflow.standin.domain import Reason, Window
from workflow.standin.handlers import add_window, cancel_window

DEFINITION = """
id: travel-claim
version: 1
name: {zh: 差旅报销, en: Travel claim}
kind: claim
mode: native
steps:
  - name: line manager
    approver: {rule: line_manager}
    deadline: {hours: 8, remind: [6], escalate: 16, decide: {after: 40, decision: return}}
"""
LONG_AGO, SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def received(*events: Any) -> list[Received[Any]]:
    envelopes = [
        Envelope(
            id=EventId(UUID(str(uuid7()))),
            time=NOW,
            sequence=1,
            correlation_id=event.key,
            event=event,
        )
        for event in events
    ]
    return [Received(one.event.TOPIC.name, 0, offset, one) for offset, one in enumerate(envelopes)]


@dataclass(frozen=True)
class Road:
    """Claims of lin's, whose manager wang is asked, and what became of them."""

    database: Database
    claim: Callable[..., ClaimSubmitted]

    async def hand_in(self, *ids: str) -> None:
        async with self.database.transaction() as tx:
            await import_definitions(tx, [parse_definition(DEFINITION)])
        async with self.database.transaction() as tx:
            await handlers.on_claims(tx, received(*(self.claim(id_) for id_ in ids)))

    async def name(self, person: str, stand_in: str, **changed: Any) -> Window:
        usual = {
            "id": f"{person}-{stand_in}",
            "person_id": EmployeeId(person),
            "stand_in_id": EmployeeId(stand_in),
            "kinds": None,
            "begins_at": LONG_AGO,
            "ends_at": SOME_DAY,
            "reason": Reason.LEAVE,
            "created_by": "test",
        }
        window = Window(**(usual | changed))
        async with self.database.transaction() as tx:
            await add_window(tx, window)
        return window

    async def come(self, action: str) -> None:
        """Let the instant of this action come for every task."""
        await self.database.pool.execute(
            "UPDATE deadline SET at = now() - interval '1 second' WHERE action = $1", action
        )

    async def now(self) -> datetime:
        return await self.database.pool.fetchval("SELECT now()")

    async def left(self) -> int:
        """How many deadlines there are still."""
        return await self.database.pool.fetchval("SELECT count(*) FROM deadline")

    async def said(self, kind: type[Event]) -> list[Any]:
        """What has gone to the outbox, of one kind, in order."""
        rows = await self.database.pool.fetch(
            "SELECT payload FROM outbox WHERE type = $1 ORDER BY xid, seq", kind.TYPE
        )
        return [kind.model_validate_json(row["payload"]) for row in rows]

    async def assignees(self) -> dict[str, str]:
        """Whose turn it is."""
        rows = await self.database.pool.fetch(
            "SELECT document_id, assignee_id FROM task WHERE status = 'open'"
        )
        return {row["document_id"]: row["assignee_id"] for row in rows}

    async def is_idle(self) -> bool:
        """Whether nothing is due any more."""
        found = await self.database.pool.fetchval(
            "SELECT (SELECT count(*) FROM deadline WHERE at <= now())"
            " + (SELECT count(*) FROM stand_in WHERE move_at <= now() AND cancelled_at IS NULL)"
        )
        return not found

    async def run_until_idle(self) -> None:
        async with running(self.database):
            await eventually(self.is_idle)


@pytest.fixture
def road(database: Database, claim) -> Road:
    return Road(database, claim)


async def eventually(is_so: Callable[[], Awaitable[object]], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not await is_so():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    database: Database, put_off: timedelta = timedelta(minutes=1)
) -> AsyncIterator[asyncio.Event]:
    """The loop, until the block ends; then it must drain."""
    draining = asyncio.Event()
    loop = asyncio.create_task(delivery.deliver(database, draining, poll=0.02, put_off=put_off))
    try:
        yield draining
    finally:
        draining.set()
        async with asyncio.timeout(20):
            await loop


async def test_task_has_its_deadlines_in_working_hours(road) -> None:
    await road.hand_in("c-1")
    (assigned,) = await road.said(ApprovalTaskAssigned)
    assert assigned.due_at is not None
    rows = await road.database.pool.fetch("SELECT action, at FROM deadline ORDER BY at")
    assert [row["action"] for row in rows] == ["remind", "escalate", "decide"]
    assert rows[0]["at"] < assigned.due_at < rows[1]["at"]


async def test_nothing_happens_before_its_time(road) -> None:
    await road.hand_in("c-1")
    await road.run_until_idle()
    assert await road.said(ApprovalOverdue) == []
    assert await road.left() == 3


async def test_reminder_is_said_once_and_the_task_stays(road) -> None:
    await road.hand_in("c-1")
    await road.come("remind")
    await road.run_until_idle()
    (overdue,) = await road.said(ApprovalOverdue)
    assert (overdue.action, overdue.assignee_id) == (OverdueAction.REMIND, "wang")
    assert await road.said(ApprovalTaskClosed) == []
    assert await road.left() == 2


async def test_escalation_asks_the_one_above(road) -> None:
    await road.hand_in("c-1")
    await road.come("escalate")
    await road.run_until_idle()
    assert [one.action for one in await road.said(ApprovalOverdue)] == [OverdueAction.ESCALATE]
    (closed,) = await road.said(ApprovalTaskClosed)
    assert (closed.assignee_id, closed.closing) == ("wang", Closing.ESCALATED)
    assigned = (await road.said(ApprovalTaskAssigned))[-1]
    assert (assigned.assignee_id, assigned.verb) == ("chen", Verb.ESCALATE)


async def test_definition_decides_where_no_one_did(road) -> None:
    await road.hand_in("c-1")
    await road.come("decide")
    await road.run_until_idle()
    (decided,) = await road.said(ApprovalDecided)
    assert (decided.outcome, decided.document_id) == ("returned", "c-1")


async def test_deadlines_of_a_task_that_has_ended_are_dropped(road) -> None:
    await road.hand_in("c-1")
    await road.come("decide")
    await road.run_until_idle()
    before = len(await road.said(ApprovalOverdue))
    await road.come("remind")
    await road.come("escalate")
    await road.run_until_idle()
    assert len(await road.said(ApprovalOverdue)) == before
    assert await road.left() == 0


async def test_two_processes_act_on_each_deadline_once(road) -> None:
    ids = [f"c-{n}" for n in range(30)]
    await road.hand_in(*ids)
    await road.come("remind")
    async with running(road.database), running(road.database), running(road.database):
        await eventually(road.is_idle)
    assert sorted(one.document_id for one in await road.said(ApprovalOverdue)) == sorted(ids)


@pytest.fixture
def plan(monkeypatch) -> Callable[[str, str], None]:
    """What happens the first time that this place is passed."""

    def suffer(place: str, action: str) -> None:
        monkeypatch.setattr(failpoints, "_PLAN", {(place, 1): action})
        failpoints._passed.clear()

    return suffer


@pytest.mark.parametrize("place", ["due.acted", "tx.before_commit", "tx.after_commit"])
async def test_deadline_is_acted_on_once_though_acting_fails_in_the_middle(
    road, plan, place
) -> None:
    await road.hand_in("c-1")
    await road.come("remind")
    plan(place, "raise")
    assert await delivery._act(road.database, timedelta(0))
    assert failpoints._passed[place] >= 1
    await road.run_until_idle()
    assert len(await road.said(ApprovalOverdue)) == 1


async def test_deadline_is_acted_on_once_though_the_connection_dies_in_the_middle(
    road, plan
) -> None:
    await road.hand_in("c-1")
    await road.come("remind")
    plan("due.acted", "sleep=3000")

    async def has_killed() -> bool:
        return await road.database.pool.fetchval(
            "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
            "  AND clock_timestamp() - state_change > interval '0.2 s'"
        )

    async with running(road.database):
        await eventually(has_killed)
        await eventually(road.is_idle)
    assert failpoints._passed["due.acted"] == 2
    assert len(await road.said(ApprovalOverdue)) == 1


async def test_clock_of_the_process_does_not_matter(road) -> None:
    await road.hand_in("c-1", "c-2")
    await road.come("remind")
    now = await road.now()
    # One has begun by the database's clock, but not by a clock that is an hour behind.
    await road.name("wang", "zhao", begins_at=now - timedelta(minutes=5))
    early, late = (
        replace(road.database, clock=lambda hours=hours: now + timedelta(hours=hours))
        for hours in (-1, 24 * 365)
    )
    async with running(early), running(late):
        await eventually(road.is_idle)
    overdue = await road.said(ApprovalOverdue)
    assert [one.action for one in overdue] == [OverdueAction.REMIND] * len(overdue)
    assert all(abs(one.overdue_at - now) < timedelta(minutes=30) for one in overdue)
    assert await road.assignees() == {"c-1": "zhao", "c-2": "zhao"}


async def test_deadlines_begin_by_the_clock_by_which_they_are_acted_on(road) -> None:
    now = await road.now()
    fast = replace(road, database=replace(road.database, clock=lambda: now + timedelta(days=365)))
    await fast.hand_in("c-1")
    assert await road.database.pool.fetchval("SELECT max(at) FROM deadline") < now + timedelta(90)


async def test_deadline_that_fails_lets_the_others_go_on(road) -> None:
    await road.hand_in("c-1", "c-2")
    await road.come("remind")
    await road.database.pool.execute("UPDATE approval SET route = '[7]' WHERE document_id = 'c-1'")
    failed = delivery.FAILURES.labels("deadline")._value.get
    before = failed()
    async with running(road.database):
        await eventually(road.is_idle)
    assert [one.document_id for one in await road.said(ApprovalOverdue)] == ["c-2"]
    assert failed() == before + 1
    assert (
        await road.database.pool.fetchval(
            "SELECT count(*) FROM deadline WHERE action = 'remind' AND at > now()"
        )
        == 1
    )


async def test_loop_outlives_connections_that_die(road) -> None:
    await road.hand_in("c-1", "c-2")
    async with running(road.database):
        await road.database.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await eventually(lambda: comes_back(road.database))
        await road.come("remind")
        await eventually(road.is_idle)
    assert len(await road.said(ApprovalOverdue)) == 2


async def comes_back(database: Database) -> bool:
    try:
        return bool(await database.pool.fetchval("SELECT true"))
    except delivery.AWAY:
        return False


async def test_loop_drains_at_once_when_idle(road) -> None:
    draining = asyncio.Event()
    loop = asyncio.create_task(delivery.deliver(road.database, draining, poll=3600))
    draining.set()
    async with asyncio.timeout(30):
        await loop


async def test_open_tasks_move_to_the_stand_in_when_the_window_begins(road) -> None:
    await road.hand_in("c-1", "c-2")
    await road.name("wang", "zhao")
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "zhao", "c-2": "zhao"}
    closed = await road.said(ApprovalTaskClosed)
    assert [(one.assignee_id, one.closing) for one in closed] == [("wang", Closing.STAND_IN)] * 2
    moved = (await road.said(ApprovalTaskAssigned))[2:]
    assert {(one.verb, one.acting_for) for one in moved} == {(Verb.STAND_IN, "wang")}
    await road.run_until_idle()
    assert len(await road.said(ApprovalTaskClosed)) == 2


@pytest.mark.parametrize("place", ["window.moved", "tx.before_commit", "tx.after_commit"])
async def test_tasks_move_once_though_moving_fails_in_the_middle(road, plan, place) -> None:
    await road.hand_in("c-1")
    await road.name("wang", "zhao")
    plan(place, "raise")
    assert await delivery._move(road.database, timedelta(0))
    assert failpoints._passed[place] >= 1
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "zhao"}
    assert len(await road.said(ApprovalTaskClosed)) == 1


async def test_tasks_stay_where_the_window_is_of_another_kind_or_to_come_or_called_off(
    road,
) -> None:
    await road.hand_in("c-1")
    claims, last_days = (DocumentKind.CLAIM,), SOME_DAY - timedelta(days=9)
    await road.name("wang", "zhao", kinds=(DocumentKind.TRIP,))
    await road.name("wang", "chen", kinds=claims, begins_at=last_days)
    called_off = await road.name("wang", "wei", kinds=claims, ends_at=last_days)
    async with road.database.transaction() as tx:
        assert await cancel_window(tx, called_off.id, None, "test")
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "wang"}


async def test_submitter_never_stands_in_for_the_approver_of_their_own_claim(road) -> None:
    await road.hand_in("c-1")
    await road.name("wang", "lin")
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "wang"}


async def test_task_goes_to_the_end_of_the_chain_and_not_to_who_has_left(road, employee) -> None:
    await road.hand_in("c-1")
    await road.name("zhao", "chen")
    await road.name("wang", "zhao")
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "chen"}
    await road.name("chen", "ada")
    async with road.database.transaction() as tx:
        await on_employees(tx, received(employee("ada", "chen", "admin", status="left")))
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "chen"}


async def test_two_who_stood_in_for_each_other_do_so_once_one_of_them_is_back(road) -> None:
    await road.hand_in("c-1")
    await road.name("wang", "zhao")
    back = await road.name("zhao", "wang")
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "wang"}
    async with road.database.transaction() as tx:
        assert await cancel_window(tx, back.id, None, "test")
    await road.database.pool.execute("UPDATE stand_in SET move_at = now()")  # some minutes later
    await road.run_until_idle()
    assert await road.assignees() == {"c-1": "zhao"}
