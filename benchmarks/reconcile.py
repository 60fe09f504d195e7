"""One reconciliation cycle over 10,000 open instances, beside the pace that the OA allows.

The OA is a small HTTP server that lists and shows processes on which nothing has happened; its
calls go through the connector's own channel, which keeps the limit.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import uvicorn
from chassis.db import Database
from events import ContentHash, InstanceId, TenantId
from facts import HASH
from harness import Figure
from local_stack.process import free_port
from oa_connector.delivery import Delivery, Pace
from oa_connector.domain import (
    Ability,
    Capabilities,
    Idempotency,
    Instance,
    Page,
    Sight,
    Snapshot,
    Status,
    Window,
)
from oa_connector.vendors.channel import Channel, Limits
from processes import migrations
from servers import Servers

OPEN = 10_000
PAGE = 100
CALLS_PER_SECOND = 100
_WITHIN = 0.10
_TENANT = TenantId("bench")
_SUBMISSIONS = """
INSERT INTO submission (document_id, revision, tenant, state, content_hash, form, attempt, lookups,
    failures, hints, steps_seen, instance_id, opened_at, correlation_id, created_at, updated_at)
SELECT 'd-' || n, 1, $2, 'SUBMITTED', $3, $4, 1, 0, 0, 0, 0, n::text, now() - interval '1 hour',
       'd-' || n, now(), now()
  FROM generate_series(1, $1) AS n
"""
_FORM = {
    "title": "上海客户拜访",
    "amount": "1106.00",
    "currency": "CNY",
    "submitter_id": "E1001",
    "route": [[1, "M1"]],
    "details": [],
}


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    _, database = await at.database("bench_reconcile", migrations("oa-connector"))
    await database.pool.execute(_SUBMISSIONS, OPEN, _TENANT, HASH, json.dumps(_FORM))
    async with _oa() as (oa, served):
        delivery = Delivery({_TENANT: oa}, pace=Pace())  # type: ignore[dict-item]
        before = psutil.Process().memory_info().rss
        watching = asyncio.create_task(_highest_memory())
        cycle = await delivery.reconciliation(_TENANT).cycle(database)
        watching.cancel()
        grown = max(await watching, before) - before
    if cycle.read != OPEN or await _read(database) != OPEN:
        raise RuntimeError(f"{cycle.read} of {OPEN} were read")
    rate = len(served) / (served[-1] - served[0])
    if rate > CALLS_PER_SECOND * (1 + _WITHIN):
        raise RuntimeError(f"{rate:.0f} calls/s, where the OA allows {CALLS_PER_SECOND}")
    figure = Figure(
        "reconciliation of 10,000 open",
        "calls/s",
        "the OA's rate limit",
        1 - _WITHIN,
        [float(CALLS_PER_SECOND)],
        [rate],
    )
    return [figure], {"memory that a reconciliation cycle adds": f"{grown / 2**20:.1f} MiB"}


async def _highest_memory() -> int:
    """Until it is cancelled; bytes."""
    highest = 0
    try:
        while True:
            highest = max(highest, psutil.Process().memory_info().rss)
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return highest


async def _read(database: Database) -> int:
    found: int = await database.pool.fetchval(
        "SELECT count(*) FROM submission WHERE read_at IS NOT NULL AND state = 'SUBMITTED'"
    )
    return found


@dataclass
class _QuietOA:
    """What the connector asks of an OA in a cycle; the rest is never called."""

    channel: Channel
    clock_offset: timedelta = timedelta(0)
    breaker: str = "closed"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            idempotency=Idempotency.SEARCHABLE,
            sights=frozenset({Sight.POLL_CREATED_SINCE, Sight.POLL_CHANGED_SINCE}),
            withdraw=Ability.API,
            comment=Ability.API,
            profile="bench",
        )
    )

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        said = (await self.channel.call("GET", f"/processes/{instance_id}")).json()
        return Snapshot(Status.PENDING, ContentHash(said["content_hash"]))

    async def scan(self, by: Sight, _window: Window, cursor: str | None = None) -> Page:
        """All were created in the window; none has changed."""
        first = int(cursor or 1)
        query = {"by": by.value, "first": first}
        said = (await self.channel.call("GET", "/processes", params=query)).json()
        listed = tuple(_instance(n) for n in said["listed"])
        return Page(listed, str(first + PAGE) if len(listed) == PAGE else None)


def _instance(number: int) -> Instance:
    return Instance(
        InstanceId(str(number)),
        ContentHash(HASH),
        is_open=True,
        business_key=f"d-{number}@1",
        created_at=datetime.now(UTC),
    )


@asynccontextmanager
async def _oa() -> AsyncIterator[tuple[_QuietOA, list[float]]]:
    """The OA, and when it was called."""
    served: list[float] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        served.append(time.monotonic())
        body: dict[str, Any] = {"content_hash": HASH}
        if scope["path"] == "/processes":
            query = dict(one.split("=") for one in scope["query_string"].decode().split("&"))
            first = int(query["first"])
            is_created = query["by"] == Sight.POLL_CREATED_SINCE.value
            body = {"listed": list(range(first, min(first + PAGE, OPEN + 1))) if is_created else []}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    limits = Limits(calls_per_second=CALLS_PER_SECOND, burst=CALLS_PER_SECOND // 4)
    channel = Channel(f"http://127.0.0.1:{port}", limits)
    yield _QuietOA(channel), served
    await channel.close()
    server.should_exit = True
    await serving
