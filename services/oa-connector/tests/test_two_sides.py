"""Tonglu and a real Flowable side by side: mirrored tasks, lost hints, and what is put right."""

import random
from dataclasses import replace
from datetime import timedelta

from chassis import Database
from events.oa import (
    Drift,
    InstanceStatus,
    OAContractChanged,
    OADecisionReceived,
    OADriftDetected,
    OADriftRepaired,
    OAInstanceClosed,
    OAInstanceOpened,
)
from events.workflow import (
    Decision,
)
from oa_connector import handlers, store
from oa_connector.delivery import Delivery
from oa_connector.domain import ProbeReport, Repair
from oa_connector.vendors.flowable import Flowable
from oa_mirror import notes
from oa_road import (
    PACE,
    QUICK,
    TENANT,
    People,
    Road,
    delivering,
    eventually,
    flowable_at,
    said_about,
)

# Nobody asks by itself within a test: only a hint or a reconciliation does.
DEAF = replace(QUICK, poll_young=timedelta(hours=1), poll_old=timedelta(hours=1))
AT_ONCE = replace(PACE, reconcile_every=0.0)


async def personal_notes(people: People, who: str, key: str) -> list[dict]:
    """Tasks without a process: what a process that has ended cannot hold any more."""
    found = await people.call("GET", "/runtime/tasks", params={"assignee": who, "size": "200"})
    tasks = [one for one in found.json()["data"] if one["processInstanceId"] is None]
    return [one for one in tasks if key in one["description"]]


async def test_a_mirrored_task_is_shown_to_its_person_alone_and_decided_there(
    database, people, mirror
):
    await mirror.show()
    async with delivering(database, people):
        assert (await people.decide("chen", mirror.task_id, "approve")).is_success
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    (process,) = await people.processes(mirror.task_id)
    variables = {one["name"]: one["value"] for one in process["variables"]}
    assert variables["contentHash"] == mirror.road.event.content_hash
    facts = await mirror.road.said()
    assert [type(fact) for fact in facts] == [
        OAInstanceOpened,
        OADecisionReceived,
        OAInstanceClosed,
    ]
    assert {fact.task_id for fact in facts} == {mirror.task_id}


async def test_a_task_decided_here_is_closed_in_the_oa_with_a_note_of_who_won(
    database, people, mirror
):
    await mirror.show()
    async with delivering(database, people):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    assert await people.tasks(mirror.task_id) == []
    (note,) = await notes(people, mirror.task_id)
    assert "Decided in Tonglu by chen" in note
    assert "approve" in note


async def test_a_task_decided_in_both_tells_the_oa_who_won_and_an_administrator_of_the_conflict(
    database, people, mirror
):
    await mirror.show()
    async with delivering(database, people, patience=DEAF):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        assert (await people.decide("chen", mirror.task_id, "reject")).is_success
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OADriftDetected))
    (drift,) = [one for one in await mirror.road.said() if isinstance(one, OADriftDetected)]
    assert drift.drift is Drift.STATE_CONFLICT
    (process,) = await people.processes(mirror.task_id)
    assert process["endActivityId"] == "rejected"
    (note,) = await personal_notes(people, "chen", mirror.task_id)
    assert "approve" in note["description"]
    assert (await people.complete("chen", note["id"], "noted")).is_success
    async with database.transaction() as tx:
        (case,) = await store.cases(tx, is_open=True, limit=10)
    assert case.theirs["status"] == "rejected"


async def test_a_task_that_went_to_someone_else_disappears_from_the_oa(database, people, mirror):
    await mirror.show()
    async with delivering(database, people):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.closed()
        await eventually(mirror.is_closed)
    assert await people.tasks(mirror.task_id) == []
    assert any("transferred" in note for note in await notes(people, mirror.task_id))


async def test_a_decision_that_came_from_the_oa_leaves_its_process_alone(database, people, mirror):
    await mirror.show()
    async with delivering(database, people):
        assert (await people.decide("chen", mirror.task_id, "approve")).is_success
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
        await mirror.decided(Decision.APPROVE, via=TENANT)
        assert (await mirror.submission()).farewell is None
    assert await notes(people, mirror.task_id) == []


async def test_a_task_assigned_twice_is_shown_once(database, people, mirror):
    await mirror.show()
    await mirror.show()
    async with delivering(database, people):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
    assert len(await people.processes(mirror.task_id)) == 1


async def cycle(database: Database, oa: Flowable, pace=AT_ONCE):
    """One reconciliation, as the loop runs it, and then no more."""
    delivery = Delivery({TENANT: oa}, DEAF, pace)
    return await delivery.reconciliation(TENANT).cycle(database)


async def test_what_callbacks_missed_one_reconciliation_finds(database, people, approval):
    """One in ten is dropped at random; here every hint of ten in forty is."""
    roads = [Road(database, approval("chen")) for _ in range(40)]
    for road in roads:
        await road.request()
    silent = set(random.Random(7).sample(range(len(roads)), 10))
    async with delivering(database, people, patience=DEAF):
        for road in roads:
            await eventually(lambda road=road: road.has(OAInstanceOpened))
        for number, road in enumerate(roads):
            assert (await people.decide("chen", road.key, "approve")).is_success
            if number not in silent:
                async with database.transaction() as tx:
                    await store.hint(tx, TENANT, (await road.submission()).instance_id)
        for number, road in enumerate(roads):
            if number not in silent:
                await eventually(lambda road=road: road.has(OAInstanceClosed))
        assert [await roads[number].has(OADecisionReceived) for number in silent] == [False] * 10

        oa = flowable_at(people)
        await cycle(database, oa)
        await oa.close()

        for number in silent:
            await eventually(lambda road=roads[number]: road.has(OAInstanceClosed))
    for number in silent:
        repaired = [one for one in await roads[number].said() if isinstance(one, OADriftRepaired)]
        assert [one.drift for one in repaired] == [Drift.MISSED_CALLBACK]
    for road in roads:
        assert await road.decisions() == [(1, "chen", "approve")]


async def test_a_step_decided_without_a_hint_is_found_while_the_process_runs(
    database, people, road
):
    await road.request()
    async with delivering(database, people, patience=DEAF):
        await eventually(road.is_read)
        assert (await people.decide("chen", road.key, "approve")).is_success
        oa = flowable_at(people)
        await cycle(database, oa, replace(AT_ONCE, reconcile_every=3600.0))  # by the lists alone
        await oa.close()
        await eventually(lambda: road.has(OADriftRepaired))
    assert await road.decisions() == [(1, "chen", "approve")]


async def test_a_second_process_of_one_claim_is_ended_by_reconciliation(database, people, road):
    await road.request()
    async with delivering(database, people, patience=DEAF):
        await eventually(lambda: road.has(OAInstanceOpened))
        oa = flowable_at(people)
        ghost = (await oa.submit((await road.submission()).command)).instance_id
        found = await cycle(database, oa)
        await oa.close()
    assert found.ghosts == 1
    ended = {one["id"]: one["endTime"] is not None for one in await people.processes(road.key)}
    assert ended == {ghost: True, (await road.submission()).instance_id: False}
    (fact,) = [one for one in await road.said() if isinstance(one, OADriftRepaired)]
    assert fact.drift is Drift.GHOST


async def test_a_process_of_ours_that_we_never_sent_waits_for_a_person_who_has_it_ended(
    database, people, road
):
    oa = flowable_at(people)
    await road.request()
    async with database.transaction() as tx:
        command = (await store.submission(tx, road.key)).command
        await tx.execute("DELETE FROM submission")
    orphan = (await oa.submit(command)).instance_id
    await cycle(database, oa)
    await cycle(database, oa)
    (fact,) = await road.said()
    assert (fact.drift, fact.instance_id) == (Drift.ORPHAN, orphan)
    async with database.transaction() as tx:
        found = await store.cases(tx, is_open=True, limit=200)
        (case,) = [one for one in found if one.difference.business_key == road.key]
        await handlers.resolve_drift(tx, case.id, Repair.WITHDRAW, "a test of last week", "admin")
    await cycle(database, oa)
    await oa.close()
    (process,) = await people.processes(road.key)
    assert process["endTime"]


async def test_an_amount_changed_in_the_oa_is_a_case_with_both_sides_and_can_be_settled(
    database, people, road
):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        (process,) = await people.processes(road.key)
        change = f"/runtime/process-instances/{process['id']}/variables/amount"
        other = {"name": "amount", "type": "string", "value": "9488.00"}
        assert (await people.call("PUT", change, "zhou", json=other)).is_success
        await eventually(lambda: road.has(OADriftDetected))
        async with database.transaction() as tx:
            (case,) = await store.cases(tx, is_open=True, limit=10)
        assert case.difference.drift is Drift.AMOUNT_MISMATCH
        assert (case.ours["amount"], case.theirs["amount"]) == ("1488.00", "9488.00")
        async with database.transaction() as tx:
            await handlers.resolve_drift(tx, case.id, Repair.WITHDRAW, "forged", "admin")
            assert await handlers.resolve_drift(tx, case.id, Repair.DISMISS, "x", "admin") is None
        await eventually(lambda: road.has(OAInstanceClosed))
    assert await road.decisions() == []


async def test_an_approval_erased_after_it_was_given_is_noticed_and_takes_nothing_back(
    database, people, road
):
    await road.request()
    quick = replace(QUICK, rereads=(timedelta(milliseconds=200),))
    async with delivering(database, people, patience=quick):
        for who in ("chen", "zhou"):
            assert (await people.decide(who, road.key, "approve")).is_success
        assert await road.closed_as() is InstanceStatus.APPROVED
        (process,) = await people.processes(road.key)
        gone = f"/history/historic-process-instances/{process['id']}"
        assert (await people.call("DELETE", gone)).is_success
        await eventually(lambda: road.has(OADriftDetected))
    assert (await road.said())[-1].drift is Drift.VANISHED


async def test_a_changed_form_pauses_new_submissions_of_it_until_a_person_has_looked(
    database, people, road
):
    capabilities = Flowable.capabilities
    async with database.transaction() as tx:
        for mark in ("first", "first", "second", "second"):
            report = ProbeReport("7.2.0", "flowable-7", forms={"claim": mark})
            await handlers.record_probe(tx, TENANT, report, capabilities)
        changed = [one for one in tx.emitted if isinstance(one, OAContractChanged)]
        assert [(one.template, one.paused) for one in changed] == [("claim", True)]
    await road.request()
    lease = timedelta(seconds=30)
    async with database.transaction() as tx:
        assert await store.take_due(tx, TENANT, store.SENDING, limit=9, lease=lease) == []
        assert await handlers.resume_template(tx, TENANT, "claim")
        assert not await handlers.resume_template(tx, TENANT, "claim")
        assert len(await store.take_due(tx, TENANT, store.SENDING, limit=9, lease=lease)) == 1


async def test_an_unknown_newer_version_is_told_once_and_goes_on_degraded(database):
    async with database.transaction() as tx:
        for version, is_degraded in (("7.2.0", False), ("8.0.0", True), ("8.0.0", True)):
            report = ProbeReport(version, "flowable-7", is_degraded, "newer than any tried")
            await handlers.record_probe(tx, TENANT, report, Flowable.capabilities)
        changed = [one for one in tx.emitted if isinstance(one, OAContractChanged)]
    assert [(one.version, one.degraded) for one in changed] == [("8.0.0", True)]


async def test_our_process_is_brought_along_once_and_fingerprinted(people, flowable):
    oa = flowable_at(people, deploy=True)
    first, second = await oa.probe(), await oa.probe()
    await oa.close()
    assert first.forms == second.forms
    assert first.forms["claim"]
    assert not first.is_degraded


async def test_a_breaker_opens_when_the_oa_is_away_and_closes_when_it_is_back(
    database, people, proxy, road
):
    await proxy.close()
    oa = flowable_at(people, proxy.url)
    await road.request()
    async with delivering(database, people, oa=oa):
        await eventually(lambda: said_about(oa.breaker, "opened"))
        await proxy.open()
        await eventually(lambda: road.has(OAInstanceOpened))
        await eventually(lambda: said_about(oa.breaker, "closed"))
    assert len(await people.processes(road.key)) == 1


async def test_two_processes_of_ours_share_the_work_and_tell_each_thing_once(
    database, people, approval
):
    roads = [Road(database, approval("chen")) for _ in range(10)]
    for road in roads:
        await road.request()
    async with delivering(database, people), delivering(database, people):
        for road in roads:
            assert (await people.decide("chen", road.key, "approve")).is_success
        for road in roads:
            await eventually(lambda road=road: road.has(OAInstanceClosed))
    for road in roads:
        kinds = [type(fact) for fact in await road.said()]
        assert kinds == [OAInstanceOpened, OADecisionReceived, OAInstanceClosed]
        assert len(await people.processes(road.key)) == 1
