"""Events a second through the notifier's Faust view, which writes one row per event: reported."""

import asyncio
import time

import raw
from chassis.db import Database
from events.claims import CLAIM
from facts import lives
from harness import console
from processes import migrations, service
from servers import Servers

CLAIMS = 1_000
EVENTS = CLAIMS * 2
_MANY_SECONDS = 300


async def measure(at: Servers) -> tuple[list, dict[str, str]]:
    dsn, database = await at.database("bench_view", migrations("notifier"))
    generation = str(time.time_ns() % 1_000_000_000)  # a consumer group of its own
    async with service(
        at, "notifier", dsn, "http://nobody", "view", pipeline_generation=generation
    ) as (view, _):
        await raw.produce(at.bootstrap, CLAIM.name, list(lives(1, 1)))
        await _until(database, 1)
        began = time.perf_counter()
        await raw.produce(at.bootstrap, CLAIM.name, list(lives(EVENTS, CLAIMS))[1:])
        await _until(database, EVENTS)
        rate = EVENTS / (time.perf_counter() - began)
        memory = view.memory_bytes() / 2**20
    console.print(f"[dim]view: {rate:,.0f} events/s[/dim]")
    return [], {
        "Faust view": f"{rate:,.0f} events/s, a row written for each",
        "memory of notifier view after them": f"{memory:.0f} MiB",
    }


async def _until(database: Database, folded: int) -> None:
    async with asyncio.timeout(_MANY_SECONDS):
        while folded > await database.pool.fetchval(
            "SELECT coalesce(sum(claim_sequence), 0) FROM pipeline_view"
        ):
            await asyncio.sleep(0.05)
