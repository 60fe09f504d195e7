"""The inbox of a person who has a thousand open tasks: its pages over HTTP, beside one query."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice

from approvals import MANAGER, asked, definitions_folder, new_ids, staff
from chassis.db import Database
from harness import Figure, interleave
from load import connect, request
from processes import issuer, migrations, service
from servers import Servers
from workflow.approval.domain import TONGLU
from workflow.approval.store import INBOX

TASKS = 1_000
PAGE = 50  # what the route gives where nobody asks for more
READS = 1_000


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_pages", migrations("workflow"))
    await staff(database)
    await asked(database, new_ids(TASKS))
    await at.analyze()
    afters = await _places(database)
    settings = {"definitions_dir": definitions_folder(), "roles": '["api"]'}
    async with (
        issuer() as tokens,
        service(at, "workflow", dsn, tokens.url, **settings) as (_, port),
        database.pool.acquire() as connection,
    ):
        token = tokens.token(MANAGER, "approver", exp=4_000_000_000)
        inbox = await connect(port)

        async def page(after: str | None) -> None:
            place = f"&after={after}" if after else ""
            await inbox.ask(request("GET", f"/api/tasks?limit={PAGE}{place}", token))

        async def query(after: str | None) -> None:
            # One row more than a page: whether there is another one.
            await connection.fetch(INBOX, after, PAGE + 1, TONGLU, MANAGER)

        measured = await interleave(
            "pages", {"query/page p95 ms": lambda: _by_turns((query, page), afters)}
        )
        inbox.close()
    (rounds,) = measured.values()
    queries, pages = map(list, zip(*rounds, strict=True))
    figure = Figure(
        "inbox page of 1,000 tasks, p95",
        "ms",
        "its query alone, p95",
        3.0,
        queries,
        pages,
        lower_is_better=True,
    )
    return [figure], {}


async def _places(database: Database) -> list[str | None]:
    """After which task each page begins."""
    rows = await database.pool.fetch(
        "SELECT task_id FROM task WHERE assignee_id = $1 AND status = 'open'"
        " ORDER BY assigned_at, task_id",
        MANAGER,
    )
    return [None, *(row["task_id"] for row in rows[PAGE - 1 : -1 : PAGE])]


async def _by_turns(
    reads: Sequence[Callable[[str | None], Awaitable[None]]], afters: list[str | None]
) -> tuple[float, ...]:
    """The 95th percentile of each, in ms; one after the other, so that noise meets all alike."""
    took: list[list[float]] = [[] for _ in reads]
    for after in islice(cycle(afters), READS):
        for read, mine in zip(reads, took, strict=True):
            began = time.perf_counter()
            await read(after)
            mine.append((time.perf_counter() - began) * 1000)
    return tuple(statistics.quantiles(mine, n=20)[-1] for mine in took)
