"""Whose turn it is, and what is asked aside: neither of them is the OA's silence."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from oa_connector.vendors import NotSentError, NoTurnError


@dataclass(slots=True)
class _Question:
    """What is asked of an OA by one call or several: a clock that can stand still."""

    clock: asyncio.Timeout
    spare: float  # seconds that may still go by with waiting


_QUESTION: ContextVar[_Question | None] = ContextVar("question", default=None)
_IS_ASIDE: ContextVar[bool] = ContextVar("is_aside", default=False)


@asynccontextmanager
async def answered_within(seconds: float, spare: float) -> AsyncIterator[None]:
    """The OA has so many seconds for all calls of this `with`; they may wait `spare` for turns.

    Raises:
        TimeoutError: it took longer.
    """
    async with asyncio.timeout(seconds) as clock:
        token = _QUESTION.set(_Question(clock, spare))
        try:
            yield
        finally:
            _QUESTION.reset(token)


@contextmanager
def aside() -> Iterator[None]:
    """What is asked beside the question itself, first or last: its time may run out over it.

    Raises:
        NotSentError: so it did; what was to follow was not sent.
    """
    token = _IS_ASIDE.set(True)
    try:
        yield
    except asyncio.CancelledError as cut:
        question = _QUESTION.get()
        if question is None or not question.clock.expired():
            raise
        raise NotSentError("no time was left") from cut
    finally:
        _IS_ASIDE.reset(token)


def is_aside() -> bool:
    """Whether the answer says nothing of what this OA lets us do but for itself."""
    return _IS_ASIDE.get()


async def own_turn(limiter: AsyncLimiter) -> None:
    """Wait until the limiter lets a call through; the clock stands still until then.

    Raises:
        NoTurnError: the spare time of the question is over.
    """
    question = _QUESTION.get()
    if question is None or limiter.has_capacity():
        await limiter.acquire()
        return
    loop, rest = asyncio.get_running_loop(), question.clock.when()
    began = loop.time()
    question.clock.reschedule(None)
    try:
        async with asyncio.timeout(max(0.0, question.spare)):
            await limiter.acquire()
    except TimeoutError as late:
        raise NoTurnError("its turn did not come in time") from late
    finally:
        waited = loop.time() - began
        question.spare -= waited
        question.clock.reschedule(None if rest is None else rest + waited)
