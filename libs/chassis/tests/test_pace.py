"""A busy process gathers, a quiet one answers at once; and no plan walks through a table."""

import pytest
from chassis import outbox
from chassis.db import Database
from chassis.pace import rest


@pytest.mark.parametrize(
    ("count", "took", "seconds"),
    [(0, 1.0, 0.0), (7, 1.0, 0.0), (8, 0.01, 0.05), (8, 0.0, 0.0), (500, 1.0, 0.2)],
)
def test_a_batch_of_few_is_followed_at_once_and_one_of_many_by_five_times_its_time_at_most(
    count: int, took: float, seconds: float
) -> None:
    assert rest(count, took) == pytest.approx(seconds)


async def test_a_statement_planned_for_a_small_table_goes_by_its_index(database: Database) -> None:
    await database.pool.execute("CREATE TABLE thing (id text PRIMARY KEY)")
    await database.pool.execute("INSERT INTO thing VALUES ('a'), ('b')")
    await database.pool.execute("ANALYZE thing")
    rows = await database.pool.fetch("EXPLAIN SELECT FROM thing WHERE id = ANY ('{a,b}'::text[])")
    assert "Seq Scan" not in "\n".join(row[0] for row in rows)


async def test_the_relay_reads_its_pages_without_parallel_workers(postgres) -> None:
    session = await outbox.connect(postgres.dsn, "test")
    try:
        assert await session.fetchval("SHOW max_parallel_workers_per_gather") == "0"
    finally:
        await session.close()
