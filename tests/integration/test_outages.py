"""A server is away while people go on working: everything is accepted, everything arrives."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from town import Town, eventually

AWAY_SECONDS = 12.0
BEYOND_THE_SESSION_SECONDS = 9.0  # a session lasts 6 s in this town


async def test_while_kafka_is_stopped_fifty_claims_are_accepted_and_all_arrive(
    town: Town,
) -> None:
    async with _away(town, "kafka"):
        claim_ids = await _hand_in(town, 50)
    await town.arrived(claim_ids)


async def test_while_the_oa_is_down_claims_are_accepted_and_all_arrive(town: Town) -> None:
    async with _away(town, "flowable"):
        claim_ids = await _hand_in(town, 20)
    await town.arrived(claim_ids)
    await town.approve(claim_ids[0])
    await town.paid(claim_ids[0])


async def test_postgres_stopped_at_once_in_the_middle_of_work_resumes(town: Town) -> None:
    async with town.under_load() as accepted:
        await town.stop("postgres", signal.SIGQUIT)
        await town.run("postgres")
    await town.arrived(accepted)


async def test_a_broker_paused_beyond_the_session_timeout_is_rejoined_and_the_road_goes_on(
    town: Town,
) -> None:
    claim_id = await town.submitted()
    town.stack.signal("kafka", signal.SIGSTOP)
    try:
        later = await _hand_in(town, 3)
        await _lasts(BEYOND_THE_SESSION_SECONDS, time.monotonic())
    finally:
        town.stack.signal("kafka", signal.SIGCONT)
    await town.arrived([claim_id, *later])
    await town.approve(claim_id)
    await town.paid(claim_id)


@asynccontextmanager
async def _away(town: Town, part: str) -> AsyncIterator[None]:
    """The part is stopped before and comes back after, AWAY_SECONDS later at the earliest."""
    await town.stop(part)
    began = time.monotonic()
    try:
        yield
        await _lasts(AWAY_SECONDS, began)
    finally:
        await town.run(part)


async def _lasts(seconds: float, began: float) -> None:
    """The length of a fault is what is tested here; no condition stands for it."""

    async def is_over() -> bool:
        return time.monotonic() - began >= seconds

    await eventually(is_over)


async def _hand_in(town: Town, count: int) -> Sequence[str]:
    """So many claims, a few at once; each is accepted or this fails."""
    at_once = asyncio.Semaphore(4)

    async def one() -> str:
        async with at_once:
            return await town.submitted()

    return await asyncio.gather(*(one() for _ in range(count)))
