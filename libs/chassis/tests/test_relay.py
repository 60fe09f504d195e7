"""The outbox relay on a real Kafka and a real PostgreSQL: nothing lost, nothing out of order."""

import asyncio
import random
import secrets
from collections import defaultdict
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner
from bus import Bus, eventually, make_bus
from chassis import outbox, publisher
from chassis.db import Database, EventTooLargeError
from chassis.kafka import partition_of
from chassis.relay import Relay


def versions_by_key(records: list[ConsumerRecord]) -> dict[str, list[int]]:
    """The versions of each key in the order of the log."""
    found = defaultdict(list)
    for record in records:
        found[record.key.decode()].append(int(dict(record.headers)["ce_sequence"]))
    return found


def firsts(versions: list[int]) -> list[int]:
    return list(dict.fromkeys(versions))


async def all_published(bus: Bus) -> list[ConsumerRecord]:
    """What is on the topic once the relay has passed every row."""

    async def is_done() -> bool:
        return await bus.database.pool.fetchval(
            "SELECT NOT EXISTS (SELECT FROM outbox WHERE NOT pg_visible_in_snapshot("
            " xid, (SELECT closed FROM outbox_cursor)::pg_snapshot))"
        )

    await eventually(is_done)
    return await bus.published()


async def test_no_event_is_lost_or_out_of_order_while_writers_hold_transactions_open(
    bus: Bus,
) -> None:
    written = 0
    wide = await Database.connect(bus.dsn, size=9)

    async def write(seed: int) -> None:
        nonlocal written
        dice = random.Random(seed)
        for n in range(60):
            async with wide.transaction() as tx:
                tx.emit(bus.event(key_=f"k{dice.randrange(20)}", n=n))
                await tx.write_facts()  # the row is there, and its number taken, before the commit
                if dice.random() < 0.3:
                    await asyncio.sleep(dice.random() * 0.03)
            written += 1

    async def hold() -> None:
        async with wide.transaction() as tx:
            await tx.execute("SELECT pg_current_xact_id()")
            await asyncio.sleep(1.0)

    async with bus.relaying():
        await asyncio.gather(hold(), *(write(seed) for seed in range(8)))
        records = await all_published(bus)
    await wide.close()
    assert written == 480
    assert len(records) == 480
    for versions in versions_by_key(records).values():
        assert versions == list(range(1, len(versions) + 1))


async def test_a_backlog_of_many_pages_is_resumed_where_it_was_left(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for page in ("_OPEN", "_CONTINUE"):
        monkeypatch.setattr(outbox, page, getattr(outbox, page).replace("LIMIT 2000", "LIMIT 20"))
    monkeypatch.setattr(outbox, "PAGE", 20)
    await bus.emit(*((f"k{n % 9}", n) for n in range(250)))

    async def has_begun() -> bool:
        return await bus.database.pool.fetchval("SELECT page > 0 FROM outbox_cursor")

    relay = Relay(bus.database, bus.dsn, bus.servers, name="test")
    running = asyncio.ensure_future(relay.run())
    await eventually(has_begun)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with bus.relaying():
        records = await all_published(bus)
    for versions in versions_by_key(records).values():
        assert firsts(versions) == list(range(1, max(versions) + 1))
    assert len({dict(record.headers)["ce_id"] for record in records}) == 250


async def test_a_record_carries_its_cloudevent_headers_and_lies_where_java_would_put_it(
    bus: Bus,
) -> None:
    await bus.emit(("键", 1), ("k2", 2), ("键", 3))
    async with bus.relaying():
        records = await all_published(bus)
    for record in records:
        headers = {name: raw.decode() for name, raw in record.headers}
        assert headers["ce_type"] == bus.event.TYPE
        assert headers["ce_subject"] == record.key.decode()
        assert record.partition == DefaultPartitioner()(record.key, [0, 1, 2, 3], [0, 1, 2, 3])
        assert record.partition == partition_of(record.key.decode(), 4)
    assert versions_by_key(records) == {"键": [1, 2], "k2": [1]}


async def test_a_drained_relay_has_published_what_was_there(bus: Bus) -> None:
    relay = Relay(bus.database, bus.dsn, bus.servers, name="test")
    running = asyncio.ensure_future(relay.run())

    async def leads() -> bool:
        return relay.leading

    await eventually(leads)
    await bus.emit(*((f"k{n}", n) for n in range(50)))
    await relay.drain()
    assert running.done()
    assert not relay.leading
    assert len(await bus.published()) == 50


async def test_facts_without_any_hint_are_found_by_polling(bus: Bus) -> None:
    async with bus.relaying():
        bus.database.on_facts = None
        await bus.emit(("k", 1))
        assert len(await all_published(bus)) == 1


async def test_an_oversized_event_is_refused_before_it_reaches_the_outbox(bus: Bus) -> None:
    async with bus.database.transaction() as tx:
        with pytest.raises(EventTooLargeError, match="at most 899,999"):
            tx.emit(bus.event(key_="k", n=1, text="x" * 900_000))
    with pytest.raises(asyncpg.CheckViolationError, match="outbox_payload_size"):
        await bus.database.pool.execute(
            "INSERT INTO outbox (event_id, topic, key, version, type, headers, payload)"
            " VALUES (gen_random_uuid(), 't', 'k', 1, 'x', '{}', $1)",
            b"x" * 900_000,
        )


async def test_fact_is_refused_where_no_transaction_would_keep_it(bus: Bus) -> None:
    with pytest.raises(RuntimeError, match="no transaction keeps it"):
        async with bus.database.reading() as tx:
            tx.emit(bus.event(key_="k", n=1))
    assert await bus.count("outbox") == 0


async def test_a_row_that_the_broker_refuses_is_parked_and_the_others_flow(
    kafka: Any, postgres: Any, database: Database
) -> None:
    bus = await make_bus(
        kafka.bootstrap_servers, postgres.dsn, database, max_message_bytes=20_000, partitions=1
    )
    await bus.emit(*(("a", n) for n in range(10)))
    await bus.emit(("big", 0), text=secrets.token_hex(40_000))
    await bus.emit(*(("b", n) for n in range(10)))
    async with bus.relaying():
        records = await all_published(bus)
        await bus.emit(("a", 10))  # the producer has been rebuilt
        records = await all_published(bus)
    found = versions_by_key(records)
    assert {key: firsts(versions) for key, versions in found.items()} == {
        "a": list(range(1, 12)),
        "b": list(range(1, 11)),
    }
    parked = await database.pool.fetch("SELECT key, reason FROM outbox_parked")
    assert [tuple(row) for row in parked] == [("big", "MessageSizeTooLargeError")]


async def test_rows_for_an_unknown_topic_are_parked_and_the_others_flow(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_UNKNOWN_TOPIC_SECONDS", 0.5)
    await bus.emit(("k", 1))
    await bus.database.pool.execute("UPDATE outbox SET topic = 'test.nowhere.v1'")
    await bus.emit(("k", 2))
    async with bus.relaying():
        records = await all_published(bus)
    assert versions_by_key(records) == {"k": [2]}
    assert await bus.count("outbox_parked") == 1


@pytest.mark.parametrize("place", ["relay.before_send", "relay.after_ack_before_cursor"])
async def test_a_relay_killed_on_its_way_loses_nothing_and_repeats_at_most_a_page(
    bus: Bus, place: str
) -> None:
    await bus.emit(*((f"k{n % 5}", n) for n in range(100)))
    process = await bus.process("relay", f"{place}:1:kill")
    assert await process.wait() == -9
    async with bus.relaying():
        records = await all_published(bus)
    assert len({dict(record.headers)["ce_id"] for record in records}) == 100
    assert len(records) == (100 if place == "relay.before_send" else 200)
    for versions in versions_by_key(records).values():
        assert firsts(versions) == list(range(1, 21))


async def test_one_relay_leads_and_when_it_is_killed_another_takes_over(bus: Bus) -> None:
    first = await bus.process("relay")
    await bus.emit(("k", 1))

    async def published() -> list[int]:
        return firsts(versions_by_key(await bus.published())["k"])

    await eventually(published, equals=[1])
    async with bus.relaying() as second:
        await bus.emit(("k", 2))
        await eventually(published, equals=[1, 2])
        assert not second.leading
        first.kill()
        await first.wait()
        await bus.emit(("k", 3))
        await eventually(published, equals=[1, 2, 3])
        assert second.leading


async def test_a_relay_that_stands_by_passes_hints_to_the_leader(bus: Bus) -> None:
    heard = asyncio.Event()
    leader = await outbox.connect(bus.dsn, "leader")
    await leader.add_listener("outbox", lambda *_: heard.set())
    assert await outbox.try_lead(leader)
    async with bus.relaying():
        await bus.emit(("k", 1))
        await asyncio.wait_for(heard.wait(), 10)
    await leader.close()


async def test_a_leader_whose_connection_breaks_stops_and_leads_again(bus: Bus) -> None:
    async with bus.relaying() as relay:
        await bus.emit(("k", 1))
        await all_published(bus)
        await bus.database.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'relay of test'"
        )

        async def leads() -> bool:
            return relay.leading

        await eventually(leads, equals=True)
        await bus.emit(("k", 2))
        records = await all_published(bus)
    assert firsts(versions_by_key(records)["k"]) == [1, 2]


async def test_a_database_restored_into_a_younger_server_is_not_published_from(bus: Bus) -> None:
    await bus.database.pool.execute("UPDATE outbox_cursor SET closed = '99999999:99999999:'")
    connection = await outbox.connect(bus.dsn, "test")
    with pytest.raises(outbox.RestoredError, match="dump and restore"):
        await outbox.cursor(connection)
    await connection.close()
