"""The OA's process is killed in the middle of what we ask of it, and comes back."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from events.oa import InstanceStatus, OADecisionReceived, OAInstanceClosed, OAInstanceOpened
from events.workflow import ApprovalCancelled
from oa_connector import handlers
from oa_road import START, People, Proxy, Road, delivering, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def people(own_flowable) -> People:
    return People(own_flowable.url, own_flowable.admin)


@pytest.fixture
async def proxy(own_flowable) -> AsyncIterator[Proxy]:
    address = urlsplit(own_flowable.url)
    proxy = Proxy(address.hostname, address.port, then=own_flowable.server.kill)
    await proxy.open()
    yield proxy
    await proxy.close()


async def test_killed_in_the_middle_of_a_create_it_runs_one_process(
    database, people, proxy, road, own_flowable
):
    proxy.cut = START
    await road.request()
    async with delivering(database, people, proxy.url):
        await eventually(lambda: went_through(proxy))
        await own_flowable.server.start()
        await eventually(lambda: road.has(OAInstanceOpened), 90)
    assert len(await people.processes(road.key)) == 1
    assert [type(fact) for fact in await road.said()] == [OAInstanceOpened]


async def test_killed_in_the_middle_of_a_decision_it_counts_once_or_is_made_again(
    database, people, proxy, approval, own_flowable
):
    road = Road(database, approval("chen"))
    await road.request()
    async with delivering(database, people, proxy.url):
        await eventually(lambda: road.has(OAInstanceOpened), 90)
        proxy.cut = b"POST /process-api/runtime/tasks/"
        through = People(proxy.url, people.admin)
        with pytest.raises(httpx.HTTPError):
            await through.decide("chen", road.key, "approve")
        await eventually(lambda: went_through(proxy))
        await own_flowable.server.start()
        if await people.tasks(road.key):
            assert (await people.decide("chen", road.key, "approve")).is_success
        await eventually(lambda: road.has(OAInstanceClosed), 90)
    facts = await road.said()
    assert [type(fact) for fact in facts] == [
        OAInstanceOpened,
        OADecisionReceived,
        OAInstanceClosed,
    ]
    assert facts[-1].status is InstanceStatus.APPROVED


async def test_killed_in_the_middle_of_a_withdrawal_it_ends_once(
    database, people, proxy, road, own_flowable
):
    await road.request()
    async with delivering(database, people, proxy.url):
        await eventually(lambda: road.has(OAInstanceOpened), 90)
        proxy.cut = b"DELETE /process-api/runtime/process-instances/"
        async with database.transaction() as tx:
            document, now = road.event.document_id, road.event.requested_at
            cancelled = ApprovalCancelled(document_id=document, revision=1, cancelled_at=now)
            await handlers.on_approval_cancelled(tx, cancelled)
        await eventually(lambda: went_through(proxy))
        await own_flowable.server.start()
        await eventually(lambda: road.has(OAInstanceClosed), 90)
    assert await people.tasks(road.key) == []
    closed = [one for one in await road.said() if isinstance(one, OAInstanceClosed)]
    assert [one.status for one in closed] == [InstanceStatus.WITHDRAWN]


async def went_through(proxy: Proxy) -> bool:
    """Whether the request in question has reached the OA, and the OA is gone."""
    return proxy.happening is not None and proxy.happening.done()
