"""Comparisons with a real Flowable that do not go smoothly, and what is told of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from aiolimiter import AsyncLimiter
from chassis import Database
from events import InstanceId
from events.oa import (
    Drift,
    OADecisionReceived,
    OADriftDetected,
    OADriftRepaired,
)
from oa_connector import handlers, store
from oa_connector.delivery import Delivery, Pace
from oa_connector.domain import Instance, Page, ProbeReport, Repair, Sight, Snapshot, Status, Window
from oa_connector.vendors import ContractError, NotSentError, NoTurnError, OAError
from oa_connector.vendors.flowable import Flowable
from oa_connector.vendors.turns import own_turn
from oa_mirror import made
from oa_road import PACE, QUICK, TENANT, People, Road, delivering, eventually

# Nobody asks by itself within a test: only a reconciliation does.
DEAF = replace(QUICK, poll_young=timedelta(hours=1), poll_old=timedelta(hours=1))
AT_ONCE = replace(PACE, reconcile_every=0.0)
ONCE = replace(AT_ONCE, overlap=timedelta(0))  # what was listed is not listed again


class Stubborn(Flowable):
    """Does not end these processes, and cannot read those; a list of it may be out of order."""

    keeps: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()
    broken: Exception | None = None
    breaks = 0
    trouble: OAError = ContractError("an answer that is not one")
    also: tuple[Instance, ...] = ()  # listed before all others

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        if instance_id in self.unreadable:
            raise self.trouble
        if instance_id in self.keeps:
            return await self.fetch(instance_id)
        return await super().withdraw(instance_id, reason)

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        if self.broken is not None and by is Sight.POLL_CREATED_SINCE:
            self.breaks += 1
            raise self.broken
        page = await super().scan(by, window, cursor)
        return replace(page, instances=(*self.also, *page.instances))


class Busy(Flowable):
    """Has nothing to list; each question waits for its turn."""

    limiter: AsyncLimiter

    async def scan(self, *_: object) -> Page:
        await own_turn(self.limiter)
        return Page(())


@pytest.fixture
async def oa(people):
    oa = made(Stubborn, people)
    yield oa
    await oa.close()


def comparing(oa: Flowable, pace: Pace = AT_ONCE):
    return Delivery({TENANT: oa}, DEAF, pace).reconciliation(TENANT)


async def settled(database: Database, people: People, road: Road) -> None:
    """In the OA, and nobody looks at it any more."""
    await road.request()
    async with delivering(database, people, patience=DEAF):
        await eventually(road.is_read)


async def cases(database: Database, road: Road) -> list[store.Case]:
    """Those about it: what other tests have left in the OA is strange to this database."""
    async with database.transaction() as tx:
        found = await store.cases(tx, is_open=True, limit=1_000)
    return [one for one in found if one.difference.business_key == road.key]


async def resolve(database: Database, case: store.Case, repair: Repair) -> None:
    async with database.transaction() as tx:
        await handlers.resolve_drift(tx, case.id, repair, "looked at", "admin")


async def marks(database: Database) -> list[bool]:
    async with database.transaction() as tx:
        sights = (Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE)
        return [await store.mark(tx, TENANT, sight) is not None for sight in sights]


async def test_a_ghost_that_the_oa_does_not_end_is_told_once_and_a_person_has_it_ended(
    database, people, road, oa
):
    await settled(database, people, road)
    ghost = (await oa.submit((await road.submission()).command)).instance_id
    oa.keeps = frozenset({ghost})
    for _ in range(2):
        assert (await comparing(oa).cycle(database)).ghosts == 0
    (fact,) = [one for one in await road.said() if isinstance(one, OADriftDetected)]
    (case,) = await cases(database, road)
    assert (fact.drift, fact.instance_id, case.difference.instance_id) == (
        Drift.GHOST,
        ghost,
        ghost,
    )
    assert (case.ours["state"], case.theirs["status"]) == ("SUBMITTED", "pending")

    await resolve(database, case, Repair.READ_AGAIN)  # said to be ended, and it is not
    await comparing(oa).cycle(database)
    (again,) = await cases(database, road)
    assert again.id != case.id
    oa.keeps = frozenset()
    await resolve(database, again, Repair.WITHDRAW)
    await comparing(oa).cycle(database)
    ended = {one["id"]: one["endTime"] is not None for one in await people.processes(road.key)}
    assert ended == {ghost: True, (await road.submission()).instance_id: False}
    assert await cases(database, road) == []


async def test_beside_a_ghost_the_process_that_is_kept_still_decides(database, people, road, oa):
    await settled(database, people, road)
    oa.keeps = frozenset({(await oa.submit((await road.submission()).command)).instance_id})
    await comparing(oa).cycle(database)
    kept = (await road.submission()).instance_id
    tasks = await people.tasks(road.key)
    (task,) = [one for one in tasks if one["processInstanceId"] == kept]
    assert (await people.complete("chen", task["id"], "approve")).is_success
    async with delivering(database, people, patience=DEAF):
        async with database.transaction() as tx:
            await store.hint(tx, TENANT, kept)
        await eventually(lambda: road.has(OADecisionReceived))


async def test_a_second_process_found_by_the_look_up_is_told_where_the_oa_does_not_end_it(
    database, people, road, oa
):
    await road.request()
    command = (await road.submission()).command
    first, second = [(await oa.submit(command)).instance_id for _ in range(2)]
    oa.keeps = frozenset({second})
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'UNKNOWN'")
    async with delivering(database, people, oa=oa, patience=DEAF):
        await eventually(lambda: road.has(OADriftDetected))
    (case,) = await cases(database, road)
    assert case.difference.instance_id == second
    assert first in case.difference.detail


async def test_a_process_is_taken_up_though_another_of_its_key_can_never_be_read(
    database, people, road, oa
):
    await road.request()
    command = (await road.submission()).command
    first, second = [(await oa.submit(command)).instance_id for _ in range(2)]
    oa.unreadable = frozenset({second})
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'UNKNOWN'")
    async with delivering(database, people, oa=oa, patience=replace(DEAF, refusals=2)):
        await eventually(lambda: road.has(OADriftDetected))
    assert (await road.submission()).instance_id == first
    (case,) = await cases(database, road)
    assert (case.difference.instance_id, case.theirs["status"]) == (second, "UNKNOWN")


async def test_a_ghost_in_a_state_by_a_word_that_we_do_not_know_has_not_ended(
    database, people, road
):
    await settled(database, people, road)
    async with database.transaction() as tx:
        ours = await store.submission(tx, road.key)
        odd = Snapshot(Status.UNKNOWN)
        assert not await handlers.record_ghost(tx, ours, InstanceId("p2"), odd)


async def test_what_cannot_be_ended_holds_up_nothing_else(database, people, approval, oa):
    orphaned, doubled, other = (Road(database, approval("chen")) for _ in range(3))
    for road in (orphaned, doubled, other):
        await settled(database, people, road)
    ghost = (await oa.submit((await doubled.submission()).command)).instance_id
    orphan = (await orphaned.submission()).instance_id
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM submission WHERE business_key = $1", orphaned.key)
    await comparing(oa, replace(AT_ONCE, reconcile_every=3600.0)).cycle(database)
    (case,) = await cases(database, orphaned)
    await resolve(database, case, Repair.WITHDRAW)
    oa.unreadable = frozenset({ghost, orphan})
    ghost = (await oa.submit((await doubled.submission()).command)).instance_id
    oa.unreadable |= {ghost}
    assert (await people.decide("chen", other.key, "approve")).is_success
    async with database.transaction() as tx:
        await tx.execute("UPDATE tenant SET created_until = NULL, changed_until = NULL")

    with pytest.raises(ContractError):
        await comparing(oa).cycle(database)

    assert await other.has(OADecisionReceived)
    assert await marks(database) == [True, True]  # what was not ended a person is told
    (told,) = await cases(database, doubled)
    assert (told.difference.instance_id in oa.unreadable, told.theirs["status"]) == (
        True,
        "UNKNOWN",
    )
    (again,) = await cases(database, orphaned)
    assert (again.id != case.id, again.difference.instance_id) == (True, orphan)
    async with database.transaction() as tx:
        (open_ghost,) = await store.to_withdraw(tx, TENANT)
        assert open_ghost.id == told.id

    oa.unreadable = frozenset()
    await comparing(oa).cycle(database)
    assert await cases(database, doubled) == []  # it has ended, and nobody had to decide about it


async def test_of_two_ghosts_each_is_told_and_asked_for_until_it_has_ended(
    database, people, road, oa
):
    await settled(database, people, road)
    command = (await road.submission()).command
    oa.keeps = frozenset([(await oa.submit(command)).instance_id for _ in range(2)])
    for _ in range(2):
        await comparing(oa, ONCE).cycle(database)
    told = [one.instance_id for one in await road.said() if isinstance(one, OADriftDetected)]
    assert (len(told), set(told)) == (2, oa.keeps)
    ghosts, oa.keeps = oa.keeps, frozenset()
    await comparing(oa, ONCE).cycle(database)
    mended = [one.instance_id for one in await road.said() if isinstance(one, OADriftRepaired)]
    assert (len(mended), set(mended)) == (2, ghosts)
    assert await cases(database, road) == []


async def test_of_two_strange_processes_under_one_key_each_waits_for_a_person(database):
    strange = [
        Instance(InstanceId(one), None, is_open=True, business_key="0199-aa@1")
        for one in ("o1", "o2")
    ]
    for _ in range(2):
        async with database.transaction() as tx:
            await handlers.reconcile(tx, TENANT, strange)
    async with database.transaction() as tx:
        found = await store.cases(tx, is_open=True, limit=10)
    assert sorted(one.difference.instance_id for one in found) == ["o1", "o2"]


async def ordered(database: Database, people: People, road: Road, oa: Stubborn) -> store.Case:
    """A ghost that the OA has not ended, and that an administrator wants ended."""
    await settled(database, people, road)
    oa.keeps = frozenset([(await oa.submit((await road.submission()).command)).instance_id])
    await comparing(oa, ONCE).cycle(database)
    (case,) = await cases(database, road)
    await resolve(database, case, Repair.WITHDRAW)
    return case


async def test_an_order_to_end_a_process_outlives_the_silence_of_the_oa_for_an_hour(
    database, people, road, oa
):
    case = await ordered(database, people, road, oa)
    oa.unreadable, oa.trouble = frozenset({case.difference.instance_id}), OAError("503 not now")
    with pytest.raises(OAError):
        await comparing(oa, ONCE).cycle(database)
    async with database.transaction() as tx:
        assert [one.id for one in await store.to_withdraw(tx, TENANT)] == [case.id]
        await tx.execute("UPDATE drift SET resolved_at = resolved_at - interval '2 hours'")
    assert await cases(database, road) == []
    with pytest.raises(OAError):
        await comparing(oa, ONCE).cycle(database)
    (again,) = await cases(database, road)
    assert (again.id != case.id, again.difference.instance_id) == (
        True,
        case.difference.instance_id,
    )


async def test_an_order_of_which_the_oa_has_not_heard_stands(database, people, road, oa):
    case = await ordered(database, people, road, oa)
    oa.unreadable, oa.trouble = (
        frozenset({case.difference.instance_id}),
        NotSentError("no connection"),
    )
    async with database.transaction() as tx:
        await tx.execute("UPDATE drift SET resolved_at = resolved_at - interval '2 days'")
    with pytest.raises(NotSentError):
        await comparing(oa, ONCE).cycle(database)
    async with database.transaction() as tx:
        assert [one.id for one in await store.to_withdraw(tx, TENANT)] == [case.id]


class Turning(Stubborn):
    """As it ends one process, something else happens here."""

    meanwhile: Callable[[], Awaitable[None]]

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        await self.meanwhile()
        return await super().withdraw(instance_id, reason)


async def test_a_ghost_that_has_become_our_own_since_it_was_listed_is_not_ended(
    database, people, approval
):
    oa = made(Turning, people)
    roads = [Road(database, approval("chen")) for _ in range(2)]
    ghosts = {}
    for road in roads:
        await settled(database, people, road)
        ghosts[road.key] = (await oa.submit((await road.submission()).command)).instance_id

    async def take_both_up() -> None:
        async with database.transaction() as tx:
            for key, ghost in ghosts.items():
                await tx.execute(
                    "UPDATE submission SET instance_id = $2 WHERE business_key = $1", key, ghost
                )

    oa.meanwhile = take_both_up
    await comparing(oa, replace(AT_ONCE, reconcile_every=3600.0)).cycle(database)
    ended = [
        one["id"]
        for road in roads
        for one in await people.processes(road.key)
        if one["endTime"] is not None
    ]
    assert len(ended) == 1  # the one whose end was on its way
    await oa.close()


async def test_a_ghost_is_let_be_while_a_task_that_is_sent_again_may_take_it_up(
    database, people, road, oa
):
    await settled(database, people, road)
    ghost = (await oa.submit((await road.submission()).command)).instance_id
    oa.keeps = frozenset({ghost})
    await comparing(oa).cycle(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'UNKNOWN', attempt = 0")
    oa.keeps = frozenset()
    await comparing(oa).cycle(database)
    ended = {one["id"]: one["endTime"] is not None for one in await people.processes(road.key)}
    assert ended[ghost] is False


class Endless(Stubborn):
    """Takes no cursor: each page of a list is its first."""

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:  # noqa: ARG002 -- of the port
        return replace(await super().scan(by, window), next="2")


async def test_a_list_that_does_not_go_on_is_not_read_for_ever(database, people, road):
    await settled(database, people, road)
    oa = made(Endless, people)
    with pytest.raises(ContractError, match="does not go on"):
        await comparing(oa).cycle(database)
    assert await marks(database) == [False, False]
    await oa.close()


async def test_what_was_not_asked_to_end_is_listed_again(database, people, road, oa):
    await settled(database, people, road)
    ghost = (await oa.submit((await road.submission()).command)).instance_id
    oa.unreadable, oa.trouble = frozenset({ghost}), NotSentError("no connection")
    with pytest.raises(NotSentError):
        await comparing(oa).cycle(database)
    assert await marks(database) == [False, True]
    assert await cases(database, road) == []
    oa.unreadable = frozenset()
    assert (await comparing(oa).cycle(database)).ghosts == 1


async def test_what_a_person_wants_ended_is_let_be_once_it_is_our_own(database, people, road, oa):
    await settled(database, people, road)
    ghost = (await oa.submit((await road.submission()).command)).instance_id
    oa.keeps = frozenset({ghost})
    await comparing(oa).cycle(database)
    (case,) = await cases(database, road)
    await resolve(database, case, Repair.WITHDRAW)
    async with database.transaction() as tx:  # as after it was sent again, and this one found
        await tx.execute("UPDATE submission SET instance_id = $1", ghost)
    oa.keeps = frozenset()
    await comparing(oa).cycle(database)
    ended = {one["id"]: one["endTime"] is not None for one in await people.processes(road.key)}
    assert ended[ghost] is False


class Late(Stubborn):
    """Its clock is slow, as its first answer tells."""

    offset = timedelta(0)

    @property
    def clock_offset(self) -> timedelta:
        return self.offset

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        self.offset = timedelta(minutes=-10)
        return await super().scan(by, window, cursor)


async def test_what_was_listed_before_the_clock_of_the_oa_was_heard_counts_up_to_its_own_time(
    database, people
):
    oa = made(Late, people)
    await comparing(oa).cycle(database)
    await oa.close()
    async with database.transaction() as tx:
        mark = await store.mark(tx, TENANT, Sight.POLL_CREATED_SINCE)
        assert mark < tx.now - timedelta(minutes=9)


async def test_our_own_processes_are_read_though_a_list_of_the_oa_cannot_be(
    database, people, road, oa
):
    await settled(database, people, road)
    assert (await people.decide("chen", road.key, "approve")).is_success
    oa.broken = ContractError("a page of a proxy")
    with pytest.raises(ContractError, match="a page of a proxy"):
        await comparing(oa).cycle(database)
    assert await road.has(OADecisionReceived)
    assert await marks(database) == [False, True]
    (repaired,) = [one for one in await road.said() if isinstance(one, OADriftRepaired)]
    assert repaired.drift is Drift.MISSED_CALLBACK


async def test_no_callback_is_missed_where_one_has_come_or_none_can(database, people, road):
    await settled(database, people, road)
    async with database.transaction() as tx:

        async def missed() -> list[Drift | None]:
            await tx.execute("UPDATE submission SET lease_until = NULL, missed = NULL")
            lease = timedelta(seconds=30)
            taken = await store.take_open(tx, (TENANT, ""), tx.now, limit=1, lease=lease)
            return [one.submission.missed for one in taken]

        assert await missed() == [Drift.MISSED_CALLBACK]
        assert await store.hint(tx, TENANT, (await store.submission(tx, road.key)).instance_id)
        assert await missed() == [None]
        await tx.execute("UPDATE submission SET next_at = next_at + interval '1 hour'")
        deaf = replace(Flowable.capabilities, sights=frozenset({Sight.POLL_ONE}))
        await store.save_report(tx, TENANT, ProbeReport("7.2.0", "flowable-7"), deaf)
        assert await missed() == [None]


async def test_a_listed_process_that_breaks_here_holds_up_no_other(database, people, approval, oa):
    """Its id is another's, as after an OA was restored from a copy."""
    given_up, other = Road(database, approval("chen")), Road(database, approval("chen"))
    await settled(database, people, other)
    await given_up.request()
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE submission SET state = 'CLOSED', farewell = $2 WHERE business_key = $1",
            *(given_up.key, '{"reason": "withdrawn"}'),
        )
    its = InstanceId((await other.submission()).instance_id)
    oa.also = (Instance(its, None, is_open=True, business_key=given_up.key),)
    assert (await people.decide("chen", other.key, "approve")).is_success
    await comparing(oa, replace(AT_ONCE, reconcile_every=3600.0)).cycle(database)
    assert (await other.submission()).missed is Drift.MISSED_CALLBACK
    assert await marks(database) == [True, True]


async def test_an_oa_that_is_not_reached_is_not_asked_for_each_process(database, people, road, oa):
    await settled(database, people, road)
    oa.broken = NotSentError("no connection")
    with pytest.raises(NotSentError):
        await comparing(oa).cycle(database)
    assert (await road.submission()).failures == 0


async def test_our_own_processes_are_read_though_the_turn_of_a_list_did_not_come(
    database, people, road, oa
):
    await settled(database, people, road)
    assert (await people.decide("chen", road.key, "approve")).is_success
    oa.broken = NoTurnError("its turn did not come in time")
    with pytest.raises(NoTurnError):
        await comparing(oa).cycle(database)
    assert await road.has(OADecisionReceived)


async def test_a_list_that_we_cannot_read_has_the_oa_probed_soon(database, people, oa):
    oa.broken = ContractError("a page of a proxy")
    heard: list[OAError] = []
    comparison = comparing(oa)
    comparison.doubt = heard.append
    with pytest.raises(ContractError):
        await comparison.cycle(database)
    assert heard == [oa.broken]


async def test_the_loop_and_an_administrator_compare_one_after_the_other(people, oa):
    delivery = Delivery({TENANT: oa}, DEAF, PACE)
    assert delivery.reconciliation(TENANT) is delivery.reconciliation(TENANT)


async def test_a_comparison_that_breaks_is_tried_again_at_the_next_round(database, people, oa):
    oa.broken = RuntimeError("a bug of ours")
    draining = asyncio.Event()
    comparison = comparing(oa, replace(PACE, reconcile_every=0.05))
    running = asyncio.create_task(comparison.run(database, draining))

    async def has_broken() -> bool:
        return oa.breaks > 1 or running.done()

    async def is_compared() -> bool:
        return (await marks(database))[0]

    await eventually(has_broken)
    assert not running.done()
    oa.broken = None
    await eventually(is_compared)
    draining.set()
    await running


async def test_a_comparison_ends_in_good_order_when_we_are_to_end(database, people, road, oa):
    await settled(database, people, road)
    comparison = comparing(oa)
    comparison.draining.set()
    found = await comparison.cycle(database)
    assert (found.listed, found.read) == (0, 0)
    assert await marks(database) == [False, False]


async def test_settling_a_case_or_ending_a_ghost_leaves_the_watch_of_an_approval_alone(
    database, people, road
):
    await settled(database, people, road)
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'CLOSED', status = 'approved'")
        ours = await store.submission(tx, road.key)
        due = await tx.fetchval("SELECT next_at FROM submission")
        assert due is not None
        for status in (Status.WITHDRAWN, Status.PENDING):
            await handlers.record_ghost(tx, ours, InstanceId("p2"), Snapshot(status))
        (case,) = await store.cases(tx, is_open=True, limit=10)
        await handlers.resolve_drift(tx, case.id, Repair.DISMISS, "both are known", "admin")
        assert await tx.fetchval("SELECT next_at FROM submission") == due
    repaired = [one.drift for one in await road.said() if isinstance(one, OADriftRepaired)]
    assert repaired == [Drift.GHOST, Drift.GHOST]


async def test_two_late_creates_of_one_document_are_both_ended(database, people, road):
    await road.request()
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE submission SET state = 'CLOSED', farewell = $1", '{"reason": "withdrawn"}'
        )
        key = (await store.submission(tx, road.key)).business_key
        late = [
            Instance(InstanceId(one), None, is_open=True, business_key=key) for one in ("p1", "p2")
        ]
        ghosts = await handlers.reconcile(tx, TENANT, late)
        assert [ghost for _, ghost in ghosts] == ["p2"]
        assert (await store.submission(tx, key)).instance_id == "p1"


async def test_a_comparison_holds_no_row_and_waits_for_its_turn_longer_than_one_that_does(
    database, people
):
    """With a lease of 1 s for two questions of 0.4 s, whoever holds a row waits 0.1 s at most."""
    busy, pace = made(Busy, people), Pace(call=0.4, lease=1.0)
    busy.limiter = AsyncLimiter(1, 0.5)
    await busy.limiter.acquire()
    assert (await comparing(busy, pace).cycle(database)).listed == 0
    assert await marks(database) == [True, True]
    await busy.close()
