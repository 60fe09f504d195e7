"""One assigned partition: its queue, its order, and what becomes of an event that fails."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, time

import asyncpg
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from events import Malformed

from chassis import inbox, metrics
from chassis.arrivals import Arrival, arrive
from chassis.db import AWAY
from chassis.inbox import Failure
from chassis.turns import Turns
from chassis.words import Reject, Retry

log = structlog.get_logger()
_QUEUE_RECORDS = 2000
_QUEUE_BYTES = 8 * 1024 * 1024
_TRIES = 3
_MAX_BACKOFF_SECONDS = 30.0
_PARKED_PER_MINUTE = 20  # beyond that the fault is ours, and a healthy topic must not be drained

# A database that is away, stopping, overloaded or being migrated: the event is not to blame.
_PASSING: tuple[type[Exception], ...] = (
    Retry,
    *AWAY,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
)


def _is_passing(error: Exception) -> bool:
    # A ValueError of asyncpg's is about a value that we gave it, not about the connection.
    return isinstance(error, _PASSING) and not isinstance(error, ValueError)


@dataclass(slots=True)
class Trouble:
    """One event that does not succeed.

    `others_wait_since`: when they began to wait for a Retry that has an end.
    """

    error: Exception
    failed_at: datetime
    others_wait_since: float | None = None
    since: float = field(default_factory=monotonic)
    attempts: int = 0
    waits: int = 0

    def __post_init__(self) -> None:
        self.goes_on(self.error)

    def goes_on(self, error: Exception) -> None:
        """It was tried again; time in which the database was away, say, is not that of a Retry."""
        self.error = error
        if not isinstance(error, Retry) or error.at_most is None:
            self.others_wait_since = None
        elif self.others_wait_since is None:
            self.others_wait_since = monotonic()

    @property
    def is_passing(self) -> bool:
        return _is_passing(self.error) and not self.is_over

    @property
    def is_poison(self) -> bool:
        is_so = isinstance(self.error, (Reject, Malformed))
        return is_so or self.is_over or self.attempts >= _TRIES

    @property
    def is_over(self) -> bool:
        """Whether the others have waited for it as long as it asked."""
        at_most = self.error.at_most if isinstance(self.error, Retry) else None
        if at_most is None or self.others_wait_since is None or self.waits < _TRIES:
            return False
        return monotonic() - self.others_wait_since >= at_most.total_seconds()

    def pause(self) -> float:
        """Seconds until the next try: doubling, with jitter, never below what Retry asks for."""
        asked = self.error.after.total_seconds() if isinstance(self.error, Retry) else 0.1
        longest = max(asked, _MAX_BACKOFF_SECONDS)
        pause = min(asked * 2.0 ** min(self.waits, 20), longest)
        self.waits += 1
        return pause * random.uniform(0.8, 1.2)  # noqa: S311


@dataclass(slots=True)
class Lane:
    """Handles the records of one partition in their order, by turns with the other lanes.

    `done(offset)` is told the next offset after each commit; `has_room()` when it takes more.
    """

    place: TopicPartition
    turns: Turns
    done: Callable[[TopicPartition, int], None]
    has_room: Callable[[TopicPartition], None]
    is_waiting: bool = False
    _queue: deque[ConsumerRecord] = field(default_factory=deque)
    _queued_bytes: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopping: bool = False
    _parked_at: deque[float] = field(default_factory=lambda: deque(maxlen=_PARKED_PER_MINUTE))
    _waited_in_vain: tuple[float, float] | None = None  # from when until when
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"lane {self.place}")

    def put(self, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            self._queue.append(record)
            self._queued_bytes += len(record.value or b"")
        self._arrived.set()

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= _QUEUE_RECORDS or self._queued_bytes >= _QUEUE_BYTES

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if something that it does not handle did."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def stop(self, grace_seconds: float) -> None:
        """Finish the transaction in flight, or roll it back when the grace is over."""
        self._is_stopping = True
        if self._task is None:
            return
        if self.is_waiting or not self._arrived.is_set():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=grace_seconds)
        self._task.cancel()
        await asyncio.wait({self._task})
        if (failure := self.failure) is not None:
            log.error("lane failed", topic=self.place.topic, exc_info=failure)
        for gauge in (metrics.LAG_SECONDS, metrics.RETRY_SECONDS, metrics.PARKING_STOPPED):
            gauge.labels(*self._labels).set(0)

    @property
    def _labels(self) -> tuple[str, str]:
        return self.place.topic, str(self.place.partition)

    async def _run(self) -> None:
        while not self._is_stopping:
            while not self._queue:
                metrics.LAG_SECONDS.labels(*self._labels).set(0)
                self._arrived.clear()
                await self._arrived.wait()
            await self._next()  # a frame of its own: a lane at rest holds on to no batch

    async def _next(self) -> None:
        turn = await self.turns.join(self._take)
        error = turn.error
        if error is not None and turn.is_shared:
            error = await self._attempt(turn.arrivals)
        elif error is None and turn.arrivals:
            self._finish(turn.arrivals[-1])
        if error is not None:
            await self._settle_failed(turn.arrivals, error)

    def _take(self, most: int) -> list[Arrival]:
        if self._is_stopping:
            return []
        records = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
        behind = time() - records[0].timestamp / 1000
        metrics.LAG_SECONDS.labels(*self._labels).set(max(0.0, behind))
        self._queued_bytes -= sum(len(record.value or b"") for record in records)
        if not self.is_full:
            self.has_room(self.place)
        return [arrive(record) for record in records]

    async def _settle_failed(self, arrivals: Sequence[Arrival], error: Exception) -> None:
        """Each half by itself, down to the event to blame."""
        if len(arrivals) == 1:
            trouble = Trouble(error, self.turns.database.clock(), self._waited_since(error))
            await self._settle_one(arrivals[0], trouble)
            return
        half = len(arrivals) // 2
        for part in (arrivals[:half], arrivals[half:]):
            if (again := await self._attempt(part)) is not None:
                await self._settle_failed(part, again)

    def _waited_since(self, error: Exception) -> float | None:
        """Who has just waited in vain for one event does not wait as long for the next one."""
        at_most = error.at_most if isinstance(error, Retry) else None
        if at_most is None or self._waited_in_vain is None:
            return None
        since, until = self._waited_in_vain
        return since if monotonic() - until < at_most.total_seconds() else None

    async def _attempt(self, arrivals: Sequence[Arrival]) -> Exception | None:
        """In a transaction of its own."""
        if self._is_stopping:
            raise asyncio.CancelledError
        error = await self.turns.attempt(arrivals)
        if error is None:
            self._finish(arrivals[-1])
        return error

    def _finish(self, last: Arrival) -> None:
        self.done(self.place, last.offset + 1)

    async def _settle_one(self, arrival: Arrival, trouble: Trouble) -> None:
        """Try again until it succeeds or is parked; everything behind it waits."""
        may_park = self._may_park()
        try:
            while True:
                if not trouble.is_passing:
                    trouble.attempts += 1
                    if trouble.is_poison and may_park and await self._park(arrival, trouble):
                        return
                self._tell(arrival, trouble, is_held=not may_park)
                await self._wait(trouble)
                error = await self._attempt([arrival])
                if error is None:
                    return
                trouble.goes_on(error)
        finally:
            metrics.RETRY_SECONDS.labels(*self._labels).set(0)
            metrics.PARKING_STOPPED.labels(*self._labels).set(0)

    async def _wait(self, trouble: Trouble) -> None:
        metrics.RETRY_SECONDS.labels(*self._labels).set(monotonic() - trouble.since)
        self.is_waiting = True
        try:
            await asyncio.sleep(trouble.pause())
        finally:
            self.is_waiting = False

    def _may_park(self) -> bool:
        full = len(self._parked_at) == _PARKED_PER_MINUTE
        return not full or monotonic() - self._parked_at[0] > 60  # noqa: PLR2004 -- a minute

    async def _park(self, arrival: Arrival, trouble: Trouble) -> bool:
        """Take the event and its key out of the way; False when the database did not let us."""
        error = trouble.error
        failure = Failure(
            type(error).__name__, str(error)[:1000], trouble.attempts, trouble.failed_at
        )
        try:
            async with self.turns.database.transaction() as tx:
                await inbox.lock(tx, {(arrival.topic, arrival.partition)})
                if await inbox.add(tx, [arrival]):
                    await inbox.park(tx, [arrival], failure)
        except Exception as error_of_parking:
            if not _is_passing(error_of_parking):
                raise
            trouble.error = error_of_parking
            return False
        self._parked_at.append(monotonic())
        if trouble.is_over and trouble.others_wait_since is not None:
            self._waited_in_vain = trouble.others_wait_since, monotonic()
        metrics.EVENTS.labels(arrival.topic, "parked").inc()
        log.error("event parked", **self._what(arrival, error), attempts=trouble.attempts)
        self._finish(arrival)
        return True

    def _tell(self, arrival: Arrival, trouble: Trouble, *, is_held: bool) -> None:
        if trouble.is_passing or not is_held:
            log.warning("event waits", **self._what(arrival, trouble.error), tries=trouble.waits)
        else:
            metrics.PARKING_STOPPED.labels(*self._labels).set(1)
            log.critical(
                "parking stopped: too many keys in a minute, so the fault is not in the events;"
                " fix it, and the partition goes on",
                **self._what(arrival, trouble.error),
            )

    def _where(self, arrival: Arrival) -> dict[str, object]:
        return {"topic": arrival.topic, "partition": arrival.partition, "offset": arrival.offset}

    def _what(self, arrival: Arrival, error: Exception) -> dict[str, object]:
        said = {"reason": str(error)} if isinstance(error, (Retry, Reject)) else {}
        return self._where(arrival) | {
            "type": arrival.type,
            "event_id": str(arrival.event_id),
            "key": arrival.key,
            "error": type(error).__name__,
            **said,
        }
