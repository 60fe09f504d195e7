"""Partitions are made ahead and dropped behind; aged rows go; nothing unpublished ever does."""

from datetime import UTC, datetime, timedelta

from chassis import upkeep
from chassis.db import Database

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


async def partitions(database: Database) -> list[str]:
    rows = await database.pool.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'outbox'::regclass ORDER BY 1"
    )
    return [row[0] for row in rows]


async def add_row(database: Database, created_at: datetime, version: int = 1) -> None:
    await database.pool.execute(
        "INSERT INTO outbox (event_id, topic, key, version, type, headers, payload, created_at)"
        " VALUES (gen_random_uuid(), 't', 'k', $2, 'x', '{}', '', $1)",
        *(created_at, version),
    )


async def publish_all(database: Database) -> None:
    await database.pool.execute("UPDATE outbox_cursor SET closed = pg_current_snapshot()::text")


async def test_partitions_of_the_coming_weeks_are_there_and_a_second_round_changes_nothing(
    database: Database,
) -> None:
    database.clock = lambda: NOW
    await upkeep.tidy(database)
    made = await partitions(database)
    assert made == [
        "outbox_20261130",
        "outbox_20261207",
        "outbox_20261214",
        "outbox_20261221",
        "outbox_default",
    ]
    await upkeep.tidy(database)
    assert await partitions(database) == made


async def test_a_row_of_a_week_to_come_in_the_default_partition_hinders_nothing(
    database: Database,
) -> None:
    database.clock = lambda: NOW
    await add_row(database, NOW + timedelta(weeks=1))
    await upkeep.tidy(database)
    assert "outbox_20261130" not in await partitions(database)
    assert "outbox_20261207" in await partitions(database)
    await add_row(database, NOW + timedelta(weeks=1), version=2)


async def test_an_old_partition_is_dropped_only_when_the_cursor_is_past_it(
    database: Database,
) -> None:
    database.clock = lambda: NOW
    await upkeep.tidy(database)
    await add_row(database, datetime(2026, 12, 1, tzinfo=UTC))
    database.clock = lambda: datetime(2027, 2, 1, tzinfo=UTC)
    await upkeep.tidy(database)
    assert "outbox_20261130" in await partitions(database)
    assert "outbox_20261207" not in await partitions(database)
    await publish_all(database)
    await upkeep.tidy(database)
    assert "outbox_20261130" not in await partitions(database)


async def test_a_partition_with_a_parked_row_is_kept(database: Database) -> None:
    database.clock = lambda: NOW
    await upkeep.tidy(database)
    await add_row(database, datetime(2026, 12, 1, tzinfo=UTC))
    await publish_all(database)
    await database.pool.execute(
        "INSERT INTO outbox_parked (seq, event_id, topic, key, reason)"
        " SELECT seq, event_id, topic, key, 'too big' FROM outbox"
    )
    database.clock = lambda: datetime(2027, 2, 1, tzinfo=UTC)
    await upkeep.tidy(database)
    assert "outbox_20261130" in await partitions(database)


async def test_aged_rows_go_and_young_ones_stay(database: Database) -> None:
    database.clock = lambda: NOW
    for age, version in ((36, 1), (34, 2)):
        await add_row(database, NOW - timedelta(days=age), version)
    await publish_all(database)
    for age in (91, 89):
        await database.pool.execute(
            "INSERT INTO inbox VALUES (gen_random_uuid(), 't', 0, 0, $1)",
            NOW - timedelta(days=age),
        )
    for age in (8, 6):
        await database.pool.execute(
            "INSERT INTO idempotency VALUES ('p', 'r', $1, '', 200, '', $2)",
            *(str(age), NOW - timedelta(days=age)),
        )
    await upkeep.tidy(database)
    for table in ("outbox", "inbox", "idempotency"):
        assert await database.pool.fetchval(f"SELECT count(*) FROM {table}") == 1, table  # noqa: S608
