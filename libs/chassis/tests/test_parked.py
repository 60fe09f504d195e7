"""Parked keys: copied for eyes, redriven in order while the key is live, discarded one by one."""

import asyncio
from typing import Any

from bus import Bus, eventually, record_effect
from chassis.db import Tx
from chassis.parked import discard, parked_events, parked_keys, redrive
from chassis.subscriptions import on
from chassis.words import Reject

POISON = 3


class Switch:
    """A handler that rejects one number until it is mended."""

    def __init__(self) -> None:
        self.is_mended = False

    async def __call__(self, tx: Tx, event: Any) -> None:
        if event.n == POISON and not self.is_mended:
            raise Reject("three is not allowed")
        await record_effect(tx, event)


async def park(bus: Bus, switch: Switch) -> None:
    """Leave k parked at version 4 (the fourth event, n = 3), with two more behind it."""
    await bus.emit(*(("k", n) for n in range(6)), *(("other", n + 10) for n in range(6)))
    async with bus.relaying(), bus.consuming(on(bus.event, switch)):
        await eventually(lambda: bus.count("inbox_parked"), equals=3)
        await eventually(lambda: bus.count("effect"), equals=9)


async def test_a_poison_event_parks_its_key_and_others_flow(bus: Bus) -> None:
    await park(bus, Switch())
    assert await bus.effects_of("k") == [0, 1, 2]
    assert await bus.effects_of("other") == list(range(10, 16))
    async with bus.database.transaction() as tx:
        (key,) = await parked_keys(tx)
        events = await parked_events(tx, bus.topic.name, "k")
    assert (key.key, key.events, key.reason) == ("k", 3, "three is not allowed")
    assert [event.version for event in events] == [4, 5, 6]
    assert events[0].payload is not None
    assert '"n":3' in events[0].payload


async def test_what_is_parked_is_copied_to_the_topic_of_dead_letters(bus: Bus) -> None:
    await bus.emit(*(("k", n) for n in range(5)))
    letters = bus.topic.dead_letters(bus.group)
    async with bus.relaying(), bus.consuming(on(bus.event, Switch())):

        async def copied() -> int:
            return await bus.database.pool.fetchval("SELECT count(copied_at) FROM inbox_parked")

        await eventually(copied, equals=2)
    record = (await bus.published(letters, partitions=1))[0]
    headers = {name: raw.decode() for name, raw in record.headers}
    assert record.key == b"k"
    assert headers["dlq.topic"] == bus.topic.name
    assert headers["dlq.group"] == bus.group
    assert headers["dlq.error"] == "Reject"
    assert headers["dlq.attempts"] == "1"
    assert headers["ce_type"] == bus.event.TYPE


async def test_a_redrive_applies_the_key_in_order_and_lets_it_flow_again(bus: Bus) -> None:
    switch = Switch()
    await park(bus, switch)
    lines = (on(bus.event, switch),)
    stopped = await redrive(bus.database, lines, bus.topic.name, "k")
    assert (stopped.applied, stopped.left) == (0, 3)
    assert stopped.stopped_by == "Reject: three is not allowed"
    switch.is_mended = True
    done = await redrive(bus.database, lines, bus.topic.name, "k")
    assert (done.applied, done.left, done.stopped_by) == (3, 0, None)
    await bus.emit(("k", 6))
    async with bus.relaying(), bus.consuming(*lines):
        await eventually(lambda: bus.effects_of("k"), equals=[0, 1, 2, 3, 4, 5, 6])


async def test_a_redrive_keeps_the_order_while_the_key_is_live(bus: Bus) -> None:
    switch = Switch()
    lines = (on(bus.event, switch),)
    async with bus.relaying(), bus.consuming(*lines):
        await bus.emit(*(("k", n) for n in range(6)))
        await eventually(lambda: bus.count("inbox_parked"), equals=3)
        switch.is_mended = True

        async def keep_emitting() -> None:
            for n in range(6, 106):
                await bus.emit(("k", n))

        emitting = asyncio.ensure_future(keep_emitting())
        await eventually(lambda: bus.count("outbox"))
        await redrive(bus.database, lines, bus.topic.name, "k")
        await emitting
        await eventually(lambda: bus.count("effect"), equals=106)
    assert await bus.effects_of("k") == list(range(106))
    assert await bus.count("inbox_parked") == 0


async def test_a_redelivery_of_a_parked_event_is_not_parked_twice(bus: Bus) -> None:
    await bus.produce("k", 1, version=1)
    poison = await bus.produce("k", POISON, version=2)
    behind = await bus.produce("k", 4, version=3)
    await bus.produce("k", POISON, version=2, event_id=poison)
    await bus.produce("k", 4, version=3, event_id=behind)
    await bus.produce("other", 1, version=1)
    switch = Switch()
    async with bus.consuming(on(bus.event, switch)):
        await eventually(lambda: bus.effects_of("other"), equals=[1])
        await eventually(lambda: bus.count("inbox_parked"), equals=2)
    switch.is_mended = True
    await redrive(bus.database, (on(bus.event, switch),), bus.topic.name, "k")
    assert await bus.effects_of("k") == [1, POISON, 4]


async def test_an_event_that_was_missing_is_redriven_before_those_that_missed_it(
    bus: Bus,
) -> None:
    for version in (1, 3, 2):
        await bus.produce("k", version * 10, version=version)
    lines = (on(bus.event, record_effect),)
    async with bus.consuming(*lines):
        await eventually(lambda: bus.count("inbox_parked"), equals=2)
    await redrive(bus.database, lines, bus.topic.name, "k")
    assert await bus.effects_of("k") == [10, 20, 30]


async def test_a_discarded_event_is_skipped_and_the_rest_redriven(bus: Bus) -> None:
    switch = Switch()
    await park(bus, switch)
    async with bus.database.transaction() as tx:
        events = await parked_events(tx, bus.topic.name, "k")
        assert await discard(tx, bus.topic.name, "k", events[0].event_id)
        assert not await discard(tx, bus.topic.name, "k", events[0].event_id)
    lines = (on(bus.event, switch),)
    done = await redrive(bus.database, lines, bus.topic.name, "k")
    assert (done.applied, done.left) == (2, 0)
    await bus.emit(("k", 6))
    async with bus.relaying(), bus.consuming(*lines):
        await eventually(lambda: bus.effects_of("k"), equals=[0, 1, 2, 4, 5, 6])


async def test_the_last_event_discarded_before_its_turn_leaves_no_gap(bus: Bus) -> None:
    switch = Switch()
    await park(bus, switch)
    async with bus.database.transaction() as tx:
        events = await parked_events(tx, bus.topic.name, "k")
        assert await discard(tx, bus.topic.name, "k", events[2].event_id)
    switch.is_mended = True
    lines = (on(bus.event, switch),)
    await redrive(bus.database, lines, bus.topic.name, "k")
    await bus.emit(("k", 6))
    async with bus.relaying(), bus.consuming(*lines):
        await eventually(lambda: bus.effects_of("k"), equals=[0, 1, 2, 3, 4, 6])
