"""Partitions that wait while others are at work share the next transaction."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import structlog

from chassis import batch, metrics
from chassis.arrivals import Arrival
from chassis.batch import Routes
from chassis.db import Database
from chassis.pace import rest
from chassis.spans import batch_span

log = structlog.get_logger()
BATCH = 1000
_AT_ONCE = 4  # one works in Python while three wait for the database; more make smaller batches

Take = Callable[[int], list[Arrival]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a partition handed in, and why it has not taken effect, if it has not."""

    arrivals: Sequence[Arrival]
    error: Exception | None
    is_shared: bool  # then the error may be another's


@dataclass(slots=True, eq=False)
class _Waiting:
    take: Take
    turn: asyncio.Future[Turn] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, turn: Turn | Exception) -> None:
        """Tell it, unless it was stopped meanwhile."""
        if self.turn.done():
            return
        if isinstance(turn, Turn):
            self.turn.set_result(turn)
        else:
            self.turn.set_exception(turn)


@dataclass(slots=True)
class Turns:
    """The transactions of one consumer.

    A turn is of those who came while the turns before it were at work, or gathered after them: a
    busy process has many partitions with one event each, and a transaction costs nearly the same
    whether it holds one event or fifty.
    """

    group: str
    database: Database
    routes: Routes
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(self, take: Take) -> Turn:
        """Take part in the next transaction; as it begins, `take` is asked for at most so many."""
        one = _Waiting(take)
        self._waiting.append(one)
        if len(self._working) < _AT_ONCE:
            self._working.add(asyncio.create_task(self._work()))
        return await one.turn

    async def close(self) -> None:
        """Roll back what is still in flight."""
        working, self._working = self._working, set()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def attempt(self, arrivals: Sequence[Arrival]) -> Exception | None:
        """Let them take effect in one transaction, or say why none did."""
        topics, started = {arrival.topic for arrival in arrivals}, perf_counter()
        try:
            with batch_span(self.group, arrivals):
                async with self.database.transaction() as tx:
                    outcomes = await batch.apply(tx, self.routes, arrivals)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the event is retried or parked
            for topic in topics:
                metrics.BATCH_FAILURES.labels(topic, type(error).__name__).inc()
            return error
        for topic in topics:
            metrics.BATCH_SECONDS.labels(topic).observe(perf_counter() - started)
        for (topic, outcome), count in outcomes.items():
            metrics.EVENTS.labels(topic, outcome).inc(count)
        log.debug("batch", topics=sorted(topics), events=len(arrivals), outcomes=dict(outcomes))
        return None

    async def _work(self) -> None:
        while True:
            # The other partitions of the same fetch, and those just served, come along.
            await asyncio.sleep(0)
            if not self._waiting:
                # At once, not when the task is over: who comes between would find no one at work.
                self._working.discard(cast("asyncio.Task[None]", asyncio.current_task()))
                return
            await asyncio.sleep(await self._share())

    async def _share(self) -> float:
        """One transaction for those who wait; the seconds to gather for the next."""
        company: list[_Waiting] = []
        taken: list[list[Arrival]] = []
        began, room = perf_counter(), BATCH
        try:
            while self._waiting and room > 0:
                company.append(self._waiting.popleft())
                taken.append(company[-1].take(room))
                room -= len(taken[-1])
            together = [arrival for arrivals in taken for arrival in arrivals]
            error = await self.attempt(together) if together else None
        except Exception as failure:  # noqa: BLE001 -- a fault of ours: each lane ends with it
            for one in company:
                one.settle(failure)
            return 0.0
        for one, arrivals in zip(company, taken, strict=True):
            one.settle(Turn(arrivals, error, is_shared=len(arrivals) < len(together)))
        return rest(len(together), perf_counter() - began) if room > 0 else 0.0
