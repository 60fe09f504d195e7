"""The consumer loop: fetch, hand to one lane per partition, commit offsets after the database."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from chassis import kafka
from chassis.batch import Routes
from chassis.db import Database
from chassis.dead_letters import DeadLetters
from chassis.failpoints import failpoint
from chassis.lane import Lane
from chassis.settings import ServiceSettings
from chassis.subscriptions import Subscription
from chassis.turns import Turns

log = structlog.get_logger()
_POLL_MS = 200
_COMMIT_SECONDS = 0.1
_GRACE_SECONDS = 20.0  # below the rebalance timeout: the group waits for us
_ANSWER_SECONDS = 5.0
_MAX_BACKOFF_SECONDS = 10.0


class ConsumerStalledError(RuntimeError):
    """Events wait, the broker answers, and nothing moves: only a new process helps."""


class Consumer:
    """A member of the service's consumer group.

    Raises nothing for a broker or database that is away: it waits, and goes on.
    """

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        *,
        group: str,
        subscriptions: Sequence[Subscription],
    ) -> None:
        self.joined = False
        self._database = database
        self._settings = settings
        self._group = group
        self._routes = Routes(subscriptions)
        self._lanes: dict[TopicPartition, Lane] = {}
        self._done: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._turns = Turns(group, database, self._routes)
        self._draining = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()

    async def run(self) -> None:
        """Consume until drained.

        Raises:
            ConsumerStalledError: the watchdog has seen no progress for too long.
        """
        self._stopped.clear()
        backoff = 0.2
        try:
            while not self._draining.is_set():
                try:
                    await self._consume()
                    backoff = 0.2
                except (KafkaError, OSError) as error:
                    log.warning("consumer interrupted", error=type(error).__name__)
                    await self._pause(backoff)
                    backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)
        finally:
            self._stopped.set()

    async def drain(self) -> None:
        """Fetch no more, finish the batches in flight, commit offsets, leave the group."""
        self._draining.set()
        await self._stopped.wait()

    async def _consume(self) -> None:
        """One life of one Kafka client."""
        client = kafka.new_consumer(self._settings, group=self._group)
        client.subscribe(sorted(self._routes.topics), listener=_Listener(self, client))
        letters = DeadLetters(
            self._database, self._settings.kafka_bootstrap_servers, self._group, self._lanes
        )
        try:
            await _first_to_end(client.start(), self._draining.wait())
            if not self._draining.is_set():
                await _first_to_end(
                    self._draining.wait(),
                    *(self._fetch(client), self._commit(client)),
                    *(self._watch(client), letters.run()),
                )
        finally:
            await self._stop_lanes(client)
            await letters.close()
            await kafka.leave(client)

    async def _fetch(self, client: AIOKafkaConsumer) -> None:
        while True:
            fetched = await client.getmany(timeout_ms=_POLL_MS)
            for place, records in fetched.items():
                if (lane := self._lanes.get(place)) is not None:
                    lane.put(records)
                    if lane.is_full:
                        client.pause(place)
            for lane in self._lanes.values():
                if (failure := lane.failure) is not None:
                    raise failure

    async def _commit(self, client: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit_done(client)

    async def _commit_done(self, client: AIOKafkaConsumer) -> None:
        """Tell the group how far the database is. It may refuse: the inbox covers that."""
        done = {p: n for p, n in self._done.items() if self._committed.get(p) != n}
        if not done:
            return
        await failpoint("consumer.after_db_before_offset")
        try:
            await client.commit(done)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets not committed", error=type(error).__name__)
        self._committed |= done

    async def _watch(self, client: AIOKafkaConsumer) -> None:
        """Look out for the state in which a client never wakes up again."""
        limit = self._settings.consumer_stall_seconds
        still: dict[TopicPartition | None, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(limit / 4)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    behind = await self._behind(client)
            except (KafkaError, TimeoutError):
                still = {}  # the broker is away: no progress says nothing
                continue
            now = monotonic()
            still = {
                place: still[place] if still.get(place, (-1, now))[0] == at else (at, now)
                for place, at in behind.items()
            }
            if any(now - since > limit for _, since in still.values()):
                raise ConsumerStalledError(f"no progress for {limit:g} s with events waiting")

    async def _behind(self, client: AIOKafkaConsumer) -> dict[TopicPartition | None, int]:
        """The next offset of each partition where events wait and no event's Retry explains it.

        None stands for the group itself while we are not in it.
        """
        if not self.joined:
            await client.topics()  # raises while the broker is away
            return {None: 0}
        lanes = [lane for lane in self._lanes.values() if not lane.is_waiting]
        places = [lane.place for lane in lanes]
        first, end = await client.beginning_offsets(places), await client.end_offsets(places)
        behind: dict[TopicPartition | None, int] = {}
        for place in places:
            known = self._done.get(place) or await client.committed(place) or 0
            at = max(known, first[place])
            if at < end[place]:
                behind[place] = at
        return behind

    async def _start_lanes(
        self, client: AIOKafkaConsumer, places: Iterable[TopicPartition]
    ) -> None:
        def resume(place: TopicPartition) -> None:
            with contextlib.suppress(IllegalStateError):  # a rebalance has taken it meanwhile
                client.resume(place)

        for place in places:
            lane = Lane(place, self._turns, done=self._done.__setitem__, has_room=resume)
            lane.start()
            self._lanes[place] = lane
        self.joined = True

    async def _stop_lanes(self, client: AIOKafkaConsumer) -> None:
        self.joined = False
        await asyncio.gather(*(lane.stop(_GRACE_SECONDS) for lane in self._lanes.values()))
        await self._turns.close()
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._commit_done(client)
        self._lanes.clear()
        self._done.clear()
        self._committed.clear()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()


async def _first_to_end(*parts: Coroutine[Any, Any, Any]) -> None:
    """Run these until one ends or fails; then cancel the others."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class _Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """A rebalance takes every partition and gives some back."""

    def __init__(self, consumer: Consumer, client: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._client = client

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 -- always all of them
    ) -> None:
        await self._consumer._stop_lanes(self._client)  # noqa: SLF001 -- one unit with it

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._consumer._start_lanes(self._client, assigned)  # noqa: SLF001 -- likewise
