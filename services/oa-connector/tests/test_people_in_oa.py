"""Who is asked in the OA: somebody without an account, a group, several people at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
import respx
from events import EmployeeId, InstanceId
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
    OAInstanceOpened,
    OASubmissionStuck,
)
from local_stack.testing import PASSWORD
from oa_connector import domain, handlers, store
from oa_connector.domain import (
    Accounts,
    DecidedStep,
    Instance,
    Patience,
    Repair,
    Snapshot,
    State,
    Status,
    SubmitOutcome,
)
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess
from oa_road import People, Road, delivering, eventually, flowable_at

BASE = "http://oa.test/process-api"
HEAD = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:flowable="http://flowable.org/bpmn" targetNamespace="adopted">
<process id="{key}" isExecutable="true"><startEvent id="start"/>
<sequenceFlow id="a" sourceRef="start" targetRef="ask"/>{ask}
<sequenceFlow id="b" sourceRef="ask" targetRef="approved"/><endEvent id="approved"/>
</process></definitions>"""
GROUP = '<userTask id="ask" flowable:candidateGroups="finance"/>'
ALL_AT_ONCE = """<userTask id="ask" flowable:assignee="${approver}">
<multiInstanceLoopCharacteristics isSequential="false" flowable:collection="approvers"
 flowable:elementVariable="approver"/></userTask>"""


@pytest.fixture
async def wang(people) -> AsyncIterator[str]:
    """An approver of one test, whom it may remove."""
    who = f"wang-{uuid4().hex[:8]}"
    await hire(people, who)
    yield who
    await people.call("DELETE", f"/identity/users/{who}")


async def hire(people: People, who: str) -> None:
    user = {"id": who, "firstName": who, "lastName": "", "password": PASSWORD}
    assert (await people.call("POST", "/identity/users", json=user)).is_success


async def dismiss(people: People, who: str) -> None:
    assert (await people.call("DELETE", f"/identity/users/{who}")).is_success


async def adopted(people: People, ask: str) -> str:
    """The key of a process of the company's own, deployed under a name of its own."""
    key = f"adopted-{uuid4().hex[:8]}"
    file = (f"{key}.bpmn20.xml", HEAD.format(key=key, ask=ask).encode())
    reply = await people.call("POST", "/repository/deployments", files={"file": file})
    assert reply.is_success, reply.text
    return key


async def drifts(road: Road) -> list[OADriftDetected]:
    return [one for one in await road.said() if isinstance(one, OADriftDetected)]


@asynccontextmanager
async def asking_whoever_left(
    database, people: People, road: Road, who: str
) -> AsyncIterator[None]:
    """The loops at work; somebody was asked, has left the OA since, and that was told."""
    await road.request()
    async with delivering(database, people, oa=flowable_at(people, limits=Limits(people=0))):
        await eventually(lambda: road.has(OAInstanceOpened))
        await dismiss(people, who)
        await eventually(lambda: road.has(OADriftDetected))
        yield


async def settle(database, road: Road, repair: Repair) -> None:
    async with database.transaction() as tx:
        cases = await store.cases(tx, is_open=True, limit=200)
        (case,) = [one for one in cases if one.difference.business_key == road.key]
        await handlers.resolve_drift(tx, case.id, repair, "seen", "admin")


async def test_an_approver_whom_flowable_does_not_know_is_refused_by_name(
    database, people, approval
):
    road = Road(database, approval("chen", "nobody-here"))
    await road.request()
    async with delivering(database, people):
        await eventually(lambda: road.has(OASubmissionStuck))
    (stuck,) = await road.said()
    assert stuck.reason == "no open account in the OA: nobody-here"
    assert await people.processes(road.key) == []


async def test_whoever_leaves_the_oa_while_asked_is_told_once_and_decides_after_coming_back(
    database, people, approval, wang
):
    road = Road(database, approval(wang))
    async with asking_whoever_left(database, people, road, wang):
        (told,) = await drifts(road)
        assert told.drift is Drift.UNKNOWN_PERSON
        assert told.detail == f"step 1 asks {wang}, who has no open account there"
        assert (await road.submission()).state is State.SUBMITTED

        await hire(people, wang)
        await settle(database, road, Repair.READ_AGAIN)
        assert (await people.decide(wang, road.key, "approve")).is_success
        await eventually(lambda: road.has(OADecisionReceived))
    assert await road.decisions() == [(1, wang, "approve")]
    assert len(await drifts(road)) == 1


async def test_read_again_before_anybody_has_put_it_right_is_a_case_again(
    database, people, approval, wang
):
    road = Road(database, approval(wang))
    async with asking_whoever_left(database, people, road, wang):
        await settle(database, road, Repair.READ_AGAIN)
        await eventually(lambda: road.has(OADriftDetected, 2))


async def test_a_claim_taken_back_is_ended_though_it_asks_somebody_who_has_left(
    database, people, approval, wang
):
    road = Road(database, approval(wang))
    async with asking_whoever_left(database, people, road, wang):
        await settle(database, road, Repair.WITHDRAW)
        assert await road.closed_as() is InstanceStatus.WITHDRAWN


async def test_a_task_that_a_group_is_to_take_is_not_called_broken(database, people, approval):
    road = Road(database, approval("zhou"))
    key = await adopted(people, GROUP)
    oa = flowable_at(people, processes={"claim": key}, limits=Limits(people=0))
    await road.request()
    async with delivering(database, people, oa=oa):
        await eventually(lambda: road.has(OAInstanceOpened))
        seen = await oa.fetch((await road.submission()).instance_id)
        assert (seen.waiting, seen.missing) == ((), ())
        (task,) = await people.tasks(road.key)
        claim = {"action": "claim", "assignee": "zhou"}
        assert (await people.call("POST", f"/runtime/tasks/{task['id']}", json=claim)).is_success
        assert (await people.complete("zhou", task["id"], "approve")).is_success
        await eventually(lambda: road.has(OAInstanceClosed))
    assert await drifts(road) == []
    assert await road.decisions() == [(1, "zhou", "approve")]


async def test_of_two_who_are_asked_at_once_each_decision_is_told_whoever_is_first(
    database, people, approval
):
    """Both orders: Flowable lists the two tasks in one of them."""
    for first, second in (("chen", "zhou"), ("zhou", "chen")):
        road = Road(database, approval("chen", "zhou"))
        oa = flowable_at(people, processes={"claim": await adopted(people, ALL_AT_ONCE)})
        await road.request()
        async with delivering(database, people, oa=oa):
            await eventually(lambda road=road: road.has(OAInstanceOpened))
            tasks = {one["assignee"]: one["id"] for one in await people.tasks(road.key)}
            assert (await people.complete(first, tasks[first], "approve")).is_success
            await eventually(lambda road=road: road.has(OADecisionReceived))
            assert (await people.complete(second, tasks[second], "approve")).is_success
            await eventually(lambda road=road: road.has(OAInstanceClosed))
        assert set((await road.submission()).told) == set(tasks.values())
        told = [(who, decision) for _, who, decision in await road.decisions()]
        assert told == [(first, "approve"), (second, "approve")]


async def test_of_two_who_decide_at_once_none_is_lost_and_none_told_twice(database, road):
    """The later one was told first, since the earlier one was slower to show itself."""
    await road.request()
    event, lease = road.event, timedelta(seconds=30)
    chen, zhou = (
        DecidedStep(EmployeeId(who), "approve", None, event.requested_at, f"task of {who}")
        for who in ("chen", "zhou")
    )
    async with database.transaction() as tx:
        (taken,) = await store.take_due(tx, road.event.tenant, store.SENDING, limit=1, lease=lease)
        found = [Instance(InstanceId("p1"), event.content_hash, is_open=True)]
        await handlers.record_lookup(tx, taken.submission, found, Patience())
    for steps in ((zhou,), (chen, zhou), (zhou, chen)):
        async with database.transaction() as tx:
            await tx.execute("UPDATE submission SET next_at = $1", tx.now)
            (taken,) = await store.take_due(
                tx, road.event.tenant, store.FOLLOWING, limit=1, lease=lease
            )
            seen = Snapshot(Status.PENDING, event.content_hash, steps)
            await handlers.record_snapshot(tx, taken.submission, seen, Patience())
    assert await road.decisions() == [(1, "zhou", "approve"), (2, "chen", "approve")]
    assert await drifts(road) == []


@pytest.fixture
async def oa() -> AsyncIterator[Flowable]:
    access = FlowableAccess("http://oa.test", "conn", lambda _: "secret")
    accounts = Accounts({EmployeeId("E1"): "chen"})
    flowable = Flowable(access, Limits(failures=1000), accounts)
    yield flowable
    await flowable.close()


def directory(*known: str) -> respx.Route:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"total": int(request.url.params["id"] in known)})

    return respx.get(f"{BASE}/identity/users").mock(side_effect=answer)


@respx.mock
async def test_an_account_is_asked_for_by_its_name_there_and_a_yes_is_remembered(oa, approval):
    asked = directory("chen", "conn")
    respx.post(f"{BASE}/runtime/process-instances").respond(201, json={"id": "p1"})
    command = domain.requested(approval("E1"), approval().requested_at).submission.command
    for _ in range(3):
        assert (await oa.submit(command)).outcome is SubmitOutcome.ACCEPTED
    assert [call.request.url.params["id"] for call in asked.calls] == ["chen"]


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(403),
        httpx.Response(404, text="<html>"),
        httpx.Response(200, json={"total": 0}),
    ],
    ids=["forbidden", "no such page", "keeps not even us"],
)
@respx.mock
async def test_an_oa_that_cannot_tell_who_is_there_holds_nobody_up(oa, approval, reply):
    respx.get(f"{BASE}/identity/users").mock(return_value=reply)
    respx.post(f"{BASE}/runtime/process-instances").respond(201, json={"id": "p1"})
    command = domain.requested(approval(), approval().requested_at).submission.command
    assert (await oa.submit(command)).outcome is SubmitOutcome.ACCEPTED


@respx.mock
async def test_an_oa_that_falls_silent_when_asked_for_people_has_been_sent_nothing(oa, approval):
    respx.get(f"{BASE}/identity/users").mock(side_effect=httpx.ReadTimeout("slow"))
    create = respx.post(f"{BASE}/runtime/process-instances")
    command = domain.requested(approval(), approval().requested_at).submission.command
    assert (await oa.submit(command)).outcome is SubmitOutcome.RETRY_LATER
    assert not create.called


@respx.mock
async def test_whoever_is_asked_and_unknown_is_missing_by_our_name_for_them(oa):
    directory("conn")
    process = {"id": "p1", "variables": []}
    respx.get(f"{BASE}/history/historic-process-instances").respond(
        json={"total": 1, "data": [process]}
    )
    tasks = [{"id": "t1", "assignee": "chen"}, {"id": "t2", "assignee": None}]
    respx.get(f"{BASE}/history/historic-task-instances").respond(json={"total": 2, "data": tasks})
    assert (await oa.fetch(InstanceId("p1"))).missing == ("E1",)
