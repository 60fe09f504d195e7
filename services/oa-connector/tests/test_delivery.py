"""The loops against a real Flowable: roads to each end, cut replies, an OA that is away."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from chassis import Database, failpoints
from chassis.http import Edge
from chassis.migrate import CHASSIS, migrate
from chassis.testing import Issuer, api_client
from events import ContentHash, InstanceId
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
    OAInstanceOpened,
    OASubmissionStuck,
)
from events.workflow import ApprovalCancelled, Decision
from oa_connector import handlers, store
from oa_connector.api import REFUSALS, callbacks
from oa_connector.delivery import Delivery, Pace
from oa_connector.delivery.probing import Probe
from oa_connector.domain import Idempotency, Instance, Patience, Snapshot, State
from oa_connector.vendors import OAError
from oa_connector.vendors.flowable import Flowable, FlowableCallbacks
from oa_mirror import made, notes
from oa_road import (
    PACE,
    QUICK,
    SECRET,
    START,
    TENANT,
    Road,
    callback,
    delivering,
    eventually,
    flowable_at,
)


@pytest.mark.parametrize(
    ("outcomes", "end"),
    [
        (("approve", "approve"), InstanceStatus.APPROVED),
        (("approve", "reject"), InstanceStatus.REJECTED),
        (("return",), InstanceStatus.RETURNED),
    ],
    ids=str,
)
async def test_what_people_decide_in_the_oa_arrives_in_order(database, people, road, outcomes, end):
    await road.request()
    async with delivering(database, people):
        for who, outcome in zip(("chen", "zhou"), outcomes, strict=False):
            assert (await people.decide(who, road.key, outcome)).is_success
        assert await road.closed_as() is end
    told = [
        (step, who, outcome)
        for step, (who, outcome) in enumerate(zip(("chen", "zhou"), outcomes, strict=False), 1)
    ]
    assert await road.decisions() == told
    kinds = [OAInstanceOpened, *[OADecisionReceived] * len(outcomes), OAInstanceClosed]
    assert [type(fact) for fact in await road.said()] == kinds


async def test_the_oa_shows_amounts_as_text_and_the_content_hash(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
    (process,) = await people.processes(road.key)
    variables = {one["name"]: one["value"] for one in process["variables"]}
    assert variables["amount"] == "1488.00"
    assert variables["contentHash"] == road.event.content_hash


async def test_what_is_cancelled_from_outside_is_withdrawn(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        (process,) = await people.processes(road.key)
        cancel = f"/runtime/process-instances/{process['id']}"
        await people.call("DELETE", cancel, params={"deleteReason": "by hand"})
        assert await road.closed_as() is InstanceStatus.WITHDRAWN
    assert await road.decisions() == []


async def test_a_note_whose_reply_was_cut_is_not_left_again(database, people, proxy, mirror):
    await mirror.show()
    async with delivering(database, people, proxy.url):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        proxy.cut = b"POST /process-api/history/historic-process-instances/"
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    assert proxy.cuts == 1
    assert len(await notes(people, mirror.task_id)) == 1


async def test_what_is_erased_from_the_history_has_vanished(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
    (process,) = await people.processes(road.key)
    await people.call("DELETE", f"/runtime/process-instances/{process['id']}")
    erased = await people.call("DELETE", f"/history/historic-process-instances/{process['id']}")
    assert erased.is_success
    async with delivering(database, people):
        assert await road.closed_as() is InstanceStatus.VANISHED
    assert [fact.drift for fact in (await road.said())[1:-1]] == [Drift.VANISHED]


async def test_a_claim_withdrawn_here_is_ended_in_the_oa(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        async with database.transaction() as tx:
            document, now = road.event.document_id, road.event.requested_at
            cancelled = ApprovalCancelled(document_id=document, revision=1, cancelled_at=now)
            await handlers.on_approval_cancelled(tx, cancelled)
        assert await road.closed_as() is InstanceStatus.WITHDRAWN
    (process,) = await people.processes(road.key)
    assert process["endTime"]
    assert process["endActivityId"] is None
    assert await people.tasks(road.key) == []


async def test_the_wrong_person_is_turned_away_and_decides_nothing(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        (task,) = await people.tasks(road.key)
        refused = await people.complete("zhou", task["id"], "approve")
        assert refused.is_error
        assert (await people.decide("chen", road.key, "reject")).is_success
        assert await road.closed_as() is InstanceStatus.REJECTED
    assert await road.decisions() == [(1, "chen", "reject")]


async def test_a_task_handed_to_someone_off_the_route_decides_nothing(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        (task,) = await people.tasks(road.key)
        await people.call("PUT", f"/runtime/tasks/{task['id']}", json={"assignee": "admin"})
        assert (await people.complete("admin", task["id"], "approve")).is_success
        await eventually(lambda: road.has(OADriftDetected))
    assert [fact.drift for fact in (await road.said())[1:]] == [Drift.UNKNOWN_PERSON]


async def test_content_changed_in_the_oa_is_a_drift_and_nothing_is_decided(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
        (process,) = await people.processes(road.key)
        change = f"/runtime/process-instances/{process['id']}/variables/contentHash"
        other = {"name": "contentHash", "type": "string", "value": "ff" * 32}
        changed = await people.call("PUT", change, "zhou", json=other)
        assert changed.is_success
        for who in ("chen", "zhou"):
            assert (await people.decide(who, road.key, "approve")).is_success
        await road.closed_as()
    assert [type(fact) for fact in await road.said()] == [
        OAInstanceOpened,
        OADriftDetected,
        OAInstanceClosed,
    ]


async def test_a_create_whose_reply_was_cut_makes_one_process(database, people, proxy, road):
    proxy.cut = START
    await road.request()
    async with delivering(database, people, proxy.url):
        await eventually(lambda: road.has(OAInstanceOpened))
    assert proxy.cuts == 1
    assert len(await people.processes(road.key)) == 1
    assert (await road.submission()).attempt == 1


async def test_a_crash_between_create_and_record_makes_one_process(
    database, people, road, monkeypatch
):
    monkeypatch.setattr(failpoints, "_PLAN", {("oa.after_create", 1): "raise"})
    failpoints._passed.clear()
    await road.request()
    async with delivering(database, people, pace=Pace(poll=0.05, call=5.0, lease=1.0)):
        await eventually(lambda: road.has(OAInstanceOpened))
    assert len(await people.processes(road.key)) == 1
    assert [type(fact) for fact in await road.said()] == [OAInstanceOpened]


class Unsearchable(Flowable):
    """Shows only what it has named itself; the first reading breaks, or is not answered."""

    capabilities = replace(Flowable.capabilities, idempotency=Idempotency.NONE)
    broken: Exception | None = None

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        if (broken := self.broken) is not None:
            self.broken = None
            raise broken
        return await super().fetch(instance_id)


@pytest.mark.parametrize("broken", [OAError("503 not now"), RuntimeError("a crash")], ids=repr)
async def test_what_the_oa_has_named_is_kept_though_it_cannot_be_read_back_at_once(
    database, people, road, broken
):
    oa = made(Unsearchable, people)
    oa.broken = broken
    await road.request()
    async with delivering(database, people, oa=oa, pace=Pace(poll=0.05, call=5.0, lease=1.0)):
        await eventually(road.said)
    (process,) = await people.processes(road.key)
    assert [type(fact) for fact in await road.said()] == [OAInstanceOpened]
    assert (await road.submission()).instance_id == process["id"]


async def test_of_two_processes_the_oldest_is_kept_and_the_other_ended(database, people, road):
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened))
    oa = flowable_at(people)
    await oa.submit((await road.submission()).command)
    await oa.close()
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'UNKNOWN', instance_id = NULL")
    async with delivering(database, people):
        await eventually(lambda: road.has(OAInstanceOpened, 2))
    first, second = await people.processes(road.key)
    is_ended = {one["id"]: one["endTime"] is not None for one in (first, second)}
    kept = (await road.submission()).instance_id
    assert is_ended.pop(kept) is False
    assert list(is_ended.values()) == [True]


async def test_while_the_oa_is_away_submissions_wait_and_then_arrive(
    database, people, proxy, approval
):
    await proxy.close()
    roads = [Road(database, approval("chen")) for _ in range(10)]
    for road in roads:
        await road.request()
    async with delivering(database, people, proxy.url):

        async def all_have_failed() -> bool:
            return all([(await road.submission()).failures > 1 for road in roads])

        await eventually(all_have_failed)
        await proxy.open()
        for road in roads:
            await eventually(lambda road=road: road.has(OAInstanceOpened))
    for road in roads:
        assert len(await people.processes(road.key)) == 1


async def test_the_loops_outlive_a_database_that_was_stopped(own_postgres, people, approval):
    dsn = await own_postgres.create_database("oa_connector")
    await migrate(dsn, [CHASSIS, Path(__file__).parents[1] / "migrations"])
    database = await Database.connect(dsn, size=5)
    first, second = Road(database, approval("chen")), Road(database, approval("chen"))
    await first.request()
    async with delivering(database, people):
        await eventually(lambda: first.has(OAInstanceOpened))
        await own_postgres.stop_immediate()
        await own_postgres.start()
        await eventually(lambda: is_accepted(second))
        await eventually(lambda: second.has(OAInstanceOpened))
        assert (await people.decide("chen", first.key, "approve")).is_success
        assert await first.closed_as() is InstanceStatus.APPROVED
    await database.close()


async def is_accepted(road: Road) -> bool:
    """Ask once more: the pool may still hand out a connection that the server has dropped."""
    try:
        await road.request()
    except store.AWAY:
        return False
    return True


async def test_what_the_oa_refuses_for_good_waits_for_a_person(database, people, road):
    oa = flowable_at(people, processes={"claim": "no-such-process"})
    draining = asyncio.Event()
    delivery = Delivery({TENANT: oa}, QUICK, PACE)
    await road.request()
    loops = asyncio.create_task(delivery.deliver(database, draining))
    await eventually(lambda: road.has(OASubmissionStuck))
    draining.set()
    await loops
    submission = await road.submission()
    assert submission.state is State.NEEDS_HUMAN
    assert "no-such-process" in submission.last_error


async def test_a_refused_create_has_the_oa_probed_soon(database, people, road, monkeypatch):
    asked = []
    monkeypatch.setattr(Probe, "soon", lambda probe: asked.append(probe.tenant))
    await road.request()
    oa = flowable_at(people, processes={"claim": "no-such-process"})
    async with delivering(database, people, oa=oa):
        await eventually(lambda: road.has(OASubmissionStuck))
    assert asked == [TENANT]


async def test_what_was_sent_with_other_content_is_ended_and_sent_anew_at_a_second_try(
    database, people, road
):
    await road.request()
    lost = replace((await road.submission()).command, content_hash=ContentHash("ff" * 32))
    oa = flowable_at(people)
    wrong = (await oa.submit(lost)).instance_id
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'UNKNOWN'")
    async with delivering(database, people, oa=oa):
        await eventually(lambda: road.has(OASubmissionStuck))
        async with database.transaction() as tx:
            await handlers.retry_submission(tx, road.key)
            assert await handlers.resume_template(tx, TENANT, "claim")
        await eventually(lambda: road.has(OAInstanceOpened))
    ended = {one["id"]: one["endTime"] is not None for one in await people.processes(road.key)}
    assert ended == {wrong: True, (await road.submission()).instance_id: False}
    async with database.transaction() as tx:
        assert not await handlers.resume_template(tx, TENANT, "claim")  # it was not paused again


async def test_an_id_that_the_oa_has_given_twice_is_told_to_a_person(database, people, approval):
    """An OA that was restored from a copy counts on from where the copy was made."""
    first, second = Road(database, approval("chen")), Road(database, approval("chen"))
    await first.request()
    async with delivering(database, people):
        await eventually(lambda: first.has(OAInstanceOpened))
    given = (await first.submission()).instance_id
    await second.request()

    class Restored(Flowable):
        async def resolve(self, business_key: str) -> list[Instance]:  # noqa: ARG002 -- of the port
            return [Instance(given, second.event.content_hash, is_open=True)]

    quick = Pace(poll=0.05, call=5.0, lease=0.2)
    async with delivering(database, people, oa=made(Restored, people), pace=quick):
        await eventually(lambda: second.has(OASubmissionStuck))
    submission = await second.submission()
    assert submission.state is State.NEEDS_HUMAN
    assert "UniqueViolationError" in submission.last_error


async def test_the_version_of_the_oa_is_kept_and_so_is_its_silence(database, people, proxy):
    async def said() -> tuple[str | None, str | None]:
        async with database.transaction() as tx:
            found = await store.tenants(tx)
        return (found[0].version, found[0].error) if found else (None, None)

    async def is_known() -> bool:
        return (await said())[0] is not None

    async with delivering(database, people, proxy.url):
        await eventually(is_known)
    await proxy.close()

    async def is_silent() -> bool:
        return (await said())[1] is not None

    async with delivering(database, people, proxy.url):
        await eventually(is_silent)
    assert (await said())[0].startswith("7.")


async def test_a_storm_of_callbacks_tells_each_decision_once(database, people, road):
    inbound = {TENANT: FlowableCallbacks({"callback": SECRET}.__getitem__)}
    edge = Edge(
        name="oa-connector",
        database=database,
        verifier=Issuer().verifier(),
        public_routers=(callbacks(inbound),),
        refusals=REFUSALS,
    )
    slow = Patience(poll_young=timedelta(minutes=10), poll_old=timedelta(minutes=10))
    await road.request()
    async with delivering(database, people, patience=slow), api_client(edge) as api:
        await eventually(lambda: road.has(OAInstanceOpened))
        process = (await road.submission()).instance_id
        for who in ("chen", "zhou"):
            assert (await people.decide(who, road.key, "approve")).is_success
            storm = [callback(process, kind) for kind in ("TASK_COMPLETED", "X", "Y")] * 10
            random.shuffle(storm)
            await asyncio.gather(
                *[api.post("/callbacks/flowable", content=b, headers=h) for b, h in storm]
            )
        assert await road.closed_as() is InstanceStatus.APPROVED
    assert await road.decisions() == [(1, "chen", "approve"), (2, "zhou", "approve")]
    async with database.transaction() as tx:
        assert await tx.fetchval("SELECT count(*) FROM callback") == 6
