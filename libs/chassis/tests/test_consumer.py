"""The consumer loop on a real Kafka and a real PostgreSQL: one effect per event, in order."""

import asyncio
import gc
import weakref
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from bus import Bus, event_on, eventually, make_bus, record_effect, record_effects
from chassis import lane, metrics, turns
from chassis.batch import Routes
from chassis.consumer import Consumer, ConsumerStalledError
from chassis.db import Database, Tx
from chassis.kafka import partition_of
from chassis.subscriptions import Received, on, on_batch
from chassis.words import Reject, Retry
from prometheus_client import Counter


def counted(bus: Bus, outcome: str) -> float:
    found: Counter = metrics.EVENTS.labels(bus.topic.name, outcome)
    return found._value.get()


async def has_counted(bus: Bus, outcome: str, times: int) -> None:
    async def count() -> float:
        return counted(bus, outcome)

    await eventually(count, equals=float(times))


async def committed(bus: Bus) -> int:
    """The sum of the group's offsets over the partitions."""
    client = AIOKafkaConsumer(
        bootstrap_servers=bus.servers, group_id=bus.group, enable_auto_commit=False
    )
    await client.start()
    try:
        places = [TopicPartition(bus.topic.name, p) for p in range(bus.topic.partitions)]
        client.assign(places)
        return sum([await client.committed(place) or 0 for place in places])
    finally:
        await client.stop()


async def test_events_take_effect_once_and_in_the_order_of_their_key(bus: Bus) -> None:
    facts = [(f"k{n % 7}", n) for n in range(300)]
    for at in range(0, 300, 50):
        await bus.emit(*facts[at : at + 50])
    async with bus.relaying(), bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"), equals=300)
        await eventually(lambda: committed(bus), equals=300)
    for key in {key for key, _ in facts}:
        assert await bus.effects_of(key) == [n for of, n in facts if of == key]


async def test_a_batch_handler_gets_all_events_of_a_batch_in_order(bus: Bus) -> None:
    calls = []

    async def handle(tx: Tx, received: Sequence[Received[Any]]) -> None:
        calls.append(len(received))
        await record_effects(tx, received)

    await bus.emit(*((f"k{n % 3}", n) for n in range(200)))
    async with bus.relaying():
        await eventually(bus.published)
        async with bus.consuming(on_batch(bus.event, handle)):
            await eventually(lambda: bus.count("effect"), equals=200)
    assert sum(calls) == 200
    assert len(calls) < 200
    assert await bus.effects_of("k0") == list(range(0, 200, 3))


async def test_what_has_taken_effect_is_let_go_though_nothing_follows(bus: Bus) -> None:
    handled: list[weakref.ref[Any]] = []

    async def handle(tx: Tx, received: Sequence[Received[Any]]) -> None:
        handled.extend(weakref.ref(one.event) for one in received)
        await record_effects(tx, received)

    async def held() -> int:
        return sum(one() is not None for one in handled)

    gc.disable()  # the collector comes seldom: what it alone would let go is held too long
    try:
        await bus.emit(*((f"k{n}", n) for n in range(50)))
        async with bus.relaying(), bus.consuming(on_batch(bus.event, handle)):
            await eventually(lambda: bus.count("effect"), equals=50)
            await eventually(held, equals=0)
    finally:
        gc.enable()
    assert len(handled) >= 50


async def test_a_fact_of_a_handler_names_its_cause_and_keeps_the_road(bus: Bus) -> None:
    follow_up = event_on(bus.topic, f"{bus.event.TYPE}.follow-up")

    async def answer(tx: Tx, event: Any) -> None:
        tx.emit(follow_up(key_="other", n=event.n))

    await bus.emit(("k", 1))
    async with bus.relaying(), bus.consuming(on(bus.event, answer)):
        await eventually(lambda: bus.count("outbox"), equals=2)
    rows = await bus.database.pool.fetch("SELECT event_id, headers::json FROM outbox ORDER BY seq")
    assert f'"ce_causationid": "{rows[0][0]}"' in rows[1][1]
    assert '"ce_correlationid": "k"' in rows[1][1]


async def test_a_duplicate_has_no_second_effect(bus: Bus) -> None:
    event_id = await bus.produce("k", 1, version=1)
    await bus.produce("k", 1, version=1, event_id=event_id)
    await bus.produce("k", 2, version=2)
    await bus.produce("k", 1, version=1, event_id=event_id)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: committed(bus), equals=4)
    assert await bus.effects() == [("k", 1), ("k", 2)]
    assert await bus.count("inbox") == 2


async def test_a_stale_version_is_skipped_after_its_inbox_row_has_gone(bus: Bus) -> None:
    await bus.produce("k", 1, version=1)
    await bus.produce("k", 2, version=2)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"), equals=2)
        await bus.database.pool.execute("TRUNCATE inbox")
        await bus.produce("k", 1, version=1)
        await has_counted(bus, "stale", 1)
    assert await bus.effects_of("k") == [1, 2]


async def test_an_unknown_type_is_skipped_and_counted_and_its_version_is_not_missed(
    bus: Bus,
) -> None:
    await bus.produce("k", 1, version=1)
    await bus.produce("k", 2, version=2, ce_type="of.a.later.release.v1")
    await bus.produce("k", 3, version=3)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"), equals=2)
    assert await bus.effects_of("k") == [1, 3]
    assert counted(bus, "unknown") == 1


async def test_a_type_without_a_handler_moves_the_version_and_leaves_no_inbox_row(
    bus: Bus,
) -> None:
    other = event_on(bus.topic, f"{bus.event.TYPE}.other")
    await bus.produce("k", 1, version=1)
    await bus.produce("k", 2, version=2, ce_type=other.TYPE)
    await bus.produce("k", 3, version=3)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"), equals=2)
    assert await bus.count("inbox") == 2
    assert counted(bus, "unhandled") == 1


async def test_a_gap_parks_the_key_and_others_flow(bus: Bus) -> None:
    await bus.produce("k", 1, version=1)
    await bus.produce("k", 3, version=3)
    await bus.produce("other", 7, version=7)  # the first version seen is taken as it is
    await bus.produce("k", 4, version=4)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: committed(bus), equals=4)
    assert await bus.effects_of("k") == [1]
    assert await bus.effects_of("other") == [7]
    rows = await bus.database.pool.fetch("SELECT version, error FROM inbox_parked ORDER BY version")
    assert [tuple(row) for row in rows] == [(3, "Gap"), (4, "Behind")]


async def test_a_compacted_topic_tolerates_gaps_and_skips_what_is_older(
    kafka: Any, postgres: Any, database: Database
) -> None:
    bus = await make_bus(kafka.bootstrap_servers, postgres.dsn, database, cleanup="compact")
    for version in (2, 5, 4, 9):
        await bus.produce("k", version, version=version)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: committed(bus), equals=4)
    assert await bus.effects_of("k") == [2, 5, 9]
    assert await bus.count("inbox_parked") == 0


async def test_retry_holds_the_partition_in_order_until_its_cause_has_passed(bus: Bus) -> None:
    tries = 0

    async def wait_for_fourth_try(tx: Tx, event: Any) -> None:
        nonlocal tries
        if event.n == 2:
            tries += 1
            if tries < 8:  # more than the tries that a bug has
                raise Retry("not there yet", after=timedelta(milliseconds=5))
        await record_effect(tx, event)

    await bus.emit(*(("k", n) for n in range(5)))
    async with bus.relaying(), bus.consuming(on(bus.event, wait_for_fourth_try)):
        await eventually(lambda: bus.count("effect"), equals=5)
    assert await bus.effects_of("k") == [0, 1, 2, 3, 4]
    assert await bus.count("inbox_parked") == 0


async def test_retry_with_an_end_parks_its_key_then_and_the_others_flow(bus: Bus) -> None:
    keys = (f"k{n}" for n in range(99))
    place = partition_of("bad", bus.topic.partitions)
    worse, good = (k for k in keys if partition_of(k, bus.topic.partitions) == place), "good"
    second = next(worse)
    tries = Counts[str]()

    async def never_for_two(tx: Tx, event: Any) -> None:
        if event.key != good:
            tries[event.key] += 1
            soon, end = timedelta(milliseconds=20), timedelta(seconds=1)
            raise Retry("nobody knows them", after=soon, at_most=end)
        await record_effect(tx, event)

    await bus.emit(("bad", 1), (second, 1), (good, 1), ("bad", 2))
    async with bus.relaying(), bus.consuming(on(bus.event, never_for_two)):
        await eventually(lambda: bus.count("inbox_parked"), equals=3)
        await eventually(lambda: bus.count("effect"), equals=1)
    assert await bus.effects() == [(good, 1)]
    # The others have waited once already: the second is tried a few times and no longer.
    assert tries[second] < tries["bad"]


def test_only_the_time_of_a_retry_with_an_end_counts_towards_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(lane, "monotonic", lambda: now)
    limited = Retry("nobody knows them", at_most=timedelta(minutes=5))
    trouble = lane.Trouble(ConnectionResetError(), datetime.now(UTC))
    for _ in range(9):
        trouble.pause()
    now = 3600.0
    trouble.goes_on(limited)
    assert not trouble.is_over
    now = 3899.0
    assert not trouble.is_over
    now = 3900.0
    assert (trouble.is_over, trouble.is_poison, trouble.is_passing) == (True, True, False)


def keys_on_two_partitions(bus: Bus) -> tuple[str, str]:
    first, *others = (f"k{n}" for n in range(99))
    place = partition_of(first, bus.topic.partitions)
    return first, next(k for k in others if partition_of(k, bus.topic.partitions) != place)


async def test_a_partition_that_waits_for_a_retry_leaves_its_turn_to_another(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AT_ONCE", 1)
    stuck, other = keys_on_two_partitions(bus)
    tried = []

    async def not_yet(tx: Tx, event: Any) -> None:
        if event.key == stuck:
            tried.append(event.n)
            raise Retry("not there yet", after=timedelta(seconds=60))
        await record_effect(tx, event)

    async def tries() -> bool:
        return bool(tried)

    async with bus.consuming(on(bus.event, not_yet)):
        await bus.produce(stuck, 1, version=1)
        await eventually(tries, equals=True)
        await bus.produce(other, 1, version=1)
        await eventually(lambda: bus.count("effect"), equals=1)
    assert await bus.effects() == [(other, 1)]


@dataclass(slots=True)
class HeldUp:
    """A handler whose first call waits: what each call was handed, as (key, n), and the way on."""

    handler: Callable[[Tx, Sequence[Received[Any]]], Awaitable[None]]
    calls: list[list[tuple[str, int]]] = field(default_factory=list)
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, tx: Tx, received: Sequence[Received[Any]]) -> None:
        self.calls.append([(one.event.key, one.event.n) for one in received])
        if len(self.calls) == 1:
            await self._go.wait()
        await self.handler(tx, received)

    async def begun(self) -> int:
        return len(self.calls)

    async def go_on(self, running: Consumer, *, after: int) -> None:
        """Open the way once so many events wait behind it."""

        async def waiting() -> int:
            return sum(len(one._queue) for one in running._lanes.values())

        await eventually(waiting, equals=after)
        self._go.set()


async def test_what_comes_while_a_partition_waits_for_its_turn_is_one_transaction(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AT_ONCE", 1)
    first, other = keys_on_two_partitions(bus)
    held = HeldUp(record_effects)
    async with bus.consuming(on_batch(bus.event, held)) as running:
        await bus.produce(first, 1, version=1)
        await eventually(held.begun, equals=1)
        for n in range(1, 6):
            await bus.produce(other, n, version=n)
        await held.go_on(running, after=5)
        await eventually(lambda: bus.count("effect"), equals=6)
    assert held.calls == [[(first, 1)], [(other, n) for n in range(1, 6)]]


async def test_partitions_that_wait_for_their_turn_share_one_transaction_each_in_its_order(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AT_ONCE", 1)
    first, other = keys_on_two_partitions(bus)
    held = HeldUp(record_effects)
    async with bus.consuming(on_batch(bus.event, held)) as running:
        await bus.produce(first, 1, version=1)
        await eventually(held.begun, equals=1)
        for n in (2, 3):
            await bus.produce(first, n, version=n)
            await bus.produce(other, n, version=n)
        await held.go_on(running, after=4)
        await eventually(lambda: bus.count("effect"), equals=5)
    assert len(held.calls) == 2
    for key in (first, other):
        assert [n for of, n in held.calls[1] if of == key] == [2, 3]


async def test_one_that_comes_in_the_very_moment_in_which_the_last_turn_ends_is_served(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AT_ONCE", 1)
    some = turns.Turns("group", database, Routes([]))
    for moments in range(5):
        async with asyncio.timeout(10):
            turn = await some.join(lambda _: [])
        assert turn.error is None
        for _ in range(moments):
            await asyncio.sleep(0)


async def test_what_fails_in_one_partition_of_a_shared_transaction_holds_up_no_other(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_AT_ONCE", 1)
    first, other = keys_on_two_partitions(bus)

    async def refuse_the_other(tx: Tx, received: Sequence[Received[Any]]) -> None:
        if any(one.event.key == other for one in received):
            raise Reject("never")
        await record_effects(tx, received)

    held = HeldUp(refuse_the_other)
    async with bus.consuming(on_batch(bus.event, held)) as running:
        await bus.produce(first, 1, version=1)
        await eventually(held.begun, equals=1)
        await bus.produce(first, 2, version=2)
        await bus.produce(other, 2, version=2)
        await held.go_on(running, after=2)
        await eventually(lambda: bus.count("effect"), equals=2)
        await eventually(lambda: bus.count("inbox_parked"), equals=1)
    assert sorted(held.calls[1]) == sorted([(first, 2), (other, 2)])
    assert await bus.effects() == [(first, 1), (first, 2)]


async def test_a_bug_is_tried_three_times_and_an_event_before_it_is_not_held_up(bus: Bus) -> None:
    alone = 0

    async def fail(tx: Tx, event: Any) -> None:
        nonlocal alone
        await record_effect(tx, event)
        if event.n == 3:
            alone += 1
            raise ZeroDivisionError

    await bus.emit(*((f"k{n}", n) for n in range(8)))
    async with bus.relaying():
        await eventually(bus.published)
        async with bus.consuming(on(bus.event, fail)):
            await eventually(lambda: bus.count("inbox_parked"), equals=1)
            await eventually(lambda: bus.count("effect"), equals=7)
    assert ("k3", 3) not in await bus.effects()
    row = await bus.database.pool.fetchrow("SELECT error, attempts FROM inbox_parked")
    assert tuple(row) == ("ZeroDivisionError", 3)
    assert alone >= 3


async def test_a_malformed_record_parks_its_key_and_others_flow(bus: Bus) -> None:
    await bus.produce_raw("k", b"{}", [("ce_type", b"x")])
    await bus.produce_raw("k2", b"\xff", [("ce_id", b"\xff\xfe")])
    await bus.produce("k", 2, version=2)
    await bus.produce("other", 1, version=1)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: committed(bus), equals=4)
    assert await bus.effects() == [("other", 1)]
    rows = await bus.database.pool.fetch(
        "SELECT key, error FROM inbox_parked ORDER BY key, version"
    )
    assert [tuple(row) for row in rows] == [
        ("k", "Malformed"),
        ("k", "Behind"),
        ("k2", "Malformed"),
    ]


async def test_when_too_many_keys_would_be_parked_the_partition_waits_instead(
    kafka: Any, postgres: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "_PARKED_PER_MINUTE", 3)
    monkeypatch.setattr(
        lane.Lane, "_may_park", lambda self: len(self._parked_at) < lane._PARKED_PER_MINUTE
    )
    bus = await make_bus(kafka.bootstrap_servers, postgres.dsn, database, partitions=1)
    is_broken = True

    async def reject(tx: Tx, event: Any) -> None:
        if is_broken:
            raise Reject("a table is missing")
        await record_effect(tx, event)

    await bus.emit(*((f"k{n}", n) for n in range(10)))

    async def is_stopped() -> bool:
        gauge = metrics.PARKING_STOPPED.labels(bus.topic.name, "0")
        return gauge._value.get() == 1

    async with bus.relaying(), bus.consuming(on(bus.event, reject)):
        await eventually(is_stopped)
        assert await bus.count("inbox_parked") == 3
        is_broken = False
        await eventually(lambda: bus.count("effect"), equals=7)
    assert await bus.count("inbox_parked") == 3


@pytest.mark.parametrize(
    ("place", "part"),
    [("consumer.before_commit", "each"), ("consumer.after_db_before_offset", "batch")],
)
async def test_a_consumer_killed_between_database_and_offset_leaves_one_effect_each(
    bus: Bus, place: str, part: str
) -> None:
    await bus.emit(*((f"k{n % 5}", n) for n in range(100)))
    async with bus.relaying():
        await eventually(bus.published)
    process = await bus.process(part, f"{place}:1:kill")
    assert await process.wait() == -9
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"), equals=100)
        await eventually(lambda: committed(bus), equals=100)
    for key in range(5):
        assert await bus.effects_of(f"k{key}") == list(range(key, 100, 5))


async def test_each_event_has_one_effect_while_members_come_and_go(bus: Bus) -> None:
    async def keep_emitting() -> None:
        for n in range(60):
            await bus.emit(*((f"k{key}", n) for key in range(5)))
            await asyncio.sleep(0.05)

    line = on(bus.event, record_effect)
    second = await Database.connect(bus.dsn, size=5)
    async with bus.relaying(), bus.consuming(line):
        emitting = asyncio.ensure_future(keep_emitting())
        for _ in range(2):
            async with bus.consuming(line, database=second) as member:

                async def has_joined(member: Any = member) -> bool:
                    return member.joined

                await eventually(has_joined)
                await asyncio.sleep(0.3)
        await emitting
        await eventually(lambda: bus.count("effect"), equals=300)
    await second.close()
    for key in range(5):
        assert await bus.effects_of(f"k{key}") == list(range(60))


async def test_a_backend_terminated_during_a_batch_costs_a_retry_and_nothing_else(
    bus: Bus,
) -> None:
    killed = False

    async def kill_once(tx: Tx, event: Any) -> None:
        nonlocal killed
        await record_effect(tx, event)
        if event.n == 5 and not killed:
            killed = True
            backend = await tx.fetchval("SELECT pg_backend_pid()")
            await bus.database.pool.execute("SELECT pg_terminate_backend($1)", backend)
            await tx.fetchval("SELECT 1")

    await bus.emit(*(("k", n) for n in range(10)))
    async with bus.relaying(), bus.consuming(on(bus.event, kill_once)):
        await eventually(lambda: bus.count("effect"), equals=10)
    assert await bus.effects_of("k") == list(range(10))
    assert await bus.count("inbox_parked") == 0


async def test_the_watchdog_ends_a_consumer_that_has_stopped_moving(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a client that never wakes up again.
    monkeypatch.setattr(lane.Lane, "put", lambda *_: None)
    await bus.produce("k", 1, version=1)
    consumer = bus.consumer(on(bus.event, record_effect), consumer_stall_seconds=1.0)
    with pytest.raises(ConsumerStalledError, match="events waiting"):
        await asyncio.wait_for(consumer.run(), 30)


async def test_the_watchdog_leaves_alone_what_waits_for_a_retry_or_has_nothing_to_do(
    bus: Bus,
) -> None:
    async def never(tx: Tx, event: Any) -> None:
        raise Retry("never", after=timedelta(seconds=60))

    await bus.produce("k", 1, version=1)
    consumer = bus.consumer(on(bus.event, never), consumer_stall_seconds=0.4)
    running = asyncio.ensure_future(consumer.run())
    done, _ = await asyncio.wait({running}, timeout=4)
    assert not done
    await consumer.drain()
    await running


async def test_a_drained_consumer_has_committed_what_it_did(bus: Bus) -> None:
    for n in range(1, 21):
        await bus.produce("k", n, version=n)
    async with bus.consuming(on(bus.event, record_effect)):
        await eventually(lambda: bus.count("effect"))
    assert await committed(bus) == await bus.count("effect")
