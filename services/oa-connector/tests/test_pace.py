"""An OA that wants few calls: waiting for a turn is not its silence; one call tries it again."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
import respx
from aiolimiter import AsyncLimiter
from events import InstanceId
from events.oa import OAInstanceClosed, OAInstanceOpened
from oa_connector.delivery import Pace
from oa_connector.domain import (
    Instance,
    Page,
    Sight,
    Snapshot,
    SubmitApproval,
    SubmitResult,
    Window,
)
from oa_connector.vendors import NotSentError, OAError, PausedError
from oa_connector.vendors.channel import Channel, Limits
from oa_connector.vendors.flowable import Flowable
from oa_connector.vendors.turns import own_turn
from oa_mirror import made
from oa_road import PACE, QUICK, Road, delivering, eventually, flowable_at
from structlog.testing import capture_logs

URL = "http://oa.test/"


async def calls(limiter: AsyncLimiter, count: int) -> int:
    """A question of so many calls that the OA answers at once."""
    for _ in range(count):
        await own_turn(limiter)
    return count


async def test_waiting_for_a_turn_is_not_the_silence_of_the_oa():
    pace = Pace(call=0.05, lease=20.0)
    assert await pace.within(calls(AsyncLimiter(1, 0.1), 4)) == 4


async def test_after_its_turn_a_call_has_its_time_and_no_more():
    async def asked(limiter: AsyncLimiter) -> None:
        await calls(limiter, 3)
        await asyncio.Event().wait()  # the OA says nothing

    pace = Pace(call=0.05, lease=20.0)
    with pytest.raises(OAError, match="no answer within") as caught:
        await pace.within(asked(AsyncLimiter(1, 0.1)))
    assert not isinstance(caught.value, NotSentError)


async def test_a_turn_that_does_not_come_while_the_row_is_ours_sends_nothing():
    """With a lease of 1 s for two questions of 0.4 s, 0.1 s is left to wait in each."""
    pace, limiter = Pace(call=0.4, lease=1.0), AsyncLimiter(1, 60)
    await limiter.acquire()
    with pytest.raises(NotSentError, match="its turn did not come"):
        await pace.within(calls(limiter, 1))


@pytest.mark.parametrize(
    ("calls_per_second", "rows"), [(50, 8), (10, 5), (2, 1), (0.001, 1)], ids=str
)
def test_a_slow_oa_has_few_rows_in_work(calls_per_second, rows):
    limits = Limits(calls_per_second=calls_per_second)
    assert Pace(at_once=8).rows_at_once(limits.calls_per_minute) == rows


async def test_of_many_documents_for_a_slow_oa_none_is_taken_for_unanswered(
    database, people, approval
):
    roads = [Road(database, approval("chen")) for _ in range(8)]
    for road in roads:
        await road.request()
    oa = flowable_at(people, limits=Limits(calls_per_second=6, burst=1))
    pace = Pace(poll=0.05, call=2.0, lease=12.0)
    seldom = replace(QUICK, poll_young=pace.keep_callbacks)
    with capture_logs() as logged:
        async with delivering(database, people, oa=oa, pace=pace, patience=seldom):
            for road in roads:
                await eventually(lambda road=road: road.has(OAInstanceOpened), 60)
    assert [one for one in logged if one["event"] == "oa silent"] == []
    for road in roads:
        assert (await road.submission()).attempt == 1
        assert len(await people.processes(road.key)) == 1


class Few(Flowable):
    """Wants few calls; counts how many questions are asked of it at once."""

    asked = most = 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.asked += 1
        self.most = max(self.most, self.asked)
        yield
        self.asked -= 1

    async def submit(self, command: SubmitApproval) -> SubmitResult:
        with self._counted():
            return await super().submit(command)

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        with self._counted():
            return await super().resolve(business_key)

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        with self._counted():
            return await super().fetch(instance_id)

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        with self._counted():
            return await super().scan(by, window, cursor)


async def test_an_oa_that_wants_few_calls_is_asked_one_question_after_the_other(
    database, people, approval
):
    """Of three at once, one of each kind of work, none would have its turns in time."""
    oa = made(Few, people)
    oa.capabilities = replace(oa.capabilities, calls_per_minute=60)
    roads = [Road(database, approval("chen")) for _ in range(4)]
    for road in roads:
        await road.request()
    pace = replace(PACE, reconcile_every=0.1)
    async with delivering(database, people, oa=oa, pace=pace):
        for road in roads:
            await eventually(lambda road=road: road.has(OAInstanceOpened))
        assert (await people.decide("chen", roads[-1].key, "approve")).is_success
        await eventually(lambda: roads[-1].has(OAInstanceClosed))
    assert oa.most == 1


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    channel = Channel(URL, Limits(failures=2, rest=0.1))
    yield channel
    await channel.close()


async def opened(channel: Channel) -> None:
    """The breaker is open after two failures, and lets nothing through."""
    respx.get(URL).mock(side_effect=httpx.ReadTimeout("slow"))
    for _ in range(2):
        with pytest.raises(OAError, match="slow"):
            await channel.call("GET", "")
    assert channel.breaker == "opened"
    with pytest.raises(PausedError):
        await channel.call("GET", "")


@pytest.mark.parametrize("is_back", [True, False])
@respx.mock
async def test_after_a_rest_one_call_tries_the_oa_and_the_others_wait_for_what_it_finds(
    channel, is_back
):
    await opened(channel)
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def slowly(_: httpx.Request) -> httpx.Response:
        arrived.set()
        await answer.wait()
        return httpx.Response(200 if is_back else 503)

    tried = respx.get(URL).mock(side_effect=slowly)
    before = tried.call_count

    async def ask() -> httpx.Response | PausedError:
        try:
            return await channel.call("GET", "")
        except PausedError as paused:
            return paused

    async def is_tried() -> bool:
        asked.append(asyncio.create_task(ask()))
        return arrived.is_set()

    asked: list[asyncio.Task] = []
    await eventually(is_tried)
    others = await asyncio.gather(*[ask() for _ in range(24)])
    assert {type(one) for one in others} == {PausedError}
    answer.set()
    found = await asyncio.gather(*asked)
    assert [one.status_code for one in found if isinstance(one, httpx.Response)] == [
        200 if is_back else 503
    ]
    assert tried.call_count == before + 1
    assert channel.breaker == ("closed" if is_back else "opened")


@respx.mock
async def test_a_secret_that_cannot_be_read_is_no_failure_of_the_oa():
    def unreadable() -> httpx.Auth:
        raise NotSentError("a secret cannot be read")

    channel = Channel(URL, Limits(failures=1), unreadable)
    for _ in range(3):
        with pytest.raises(NotSentError, match="a secret"):
            await channel.call("GET", "")
    assert channel.breaker == "closed"
    await channel.close()
