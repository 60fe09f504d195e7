"""The whole road by HTTP: submitted, approved natively, until its payment is asked for on Kafka.

Two services as real processes with all their parts; beside it the submits of pgbench alone.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer
from approvals import DEFINITION, MANAGER, staff
from chassis import kafka
from chassis.db import Database
from chassis.settings import ServiceSettings
from chassis.testing import Issuer
from drafts import Pgbench, drafts, load, sample, submits
from events.claims import CLAIM, PaymentRequested
from harness import ROUNDS, Figure, interleave
from load import RefusedError, connect, request
from local_stack.process import Running
from processes import cpu_seconds, issuer, migrations, service
from servers import FOLDER, Servers

CLAIMS = 6_000
_LOOK_SECONDS = 0.02


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_road", migrations("claims"))
    workflow_dsn, workflow = await at.database("bench_workflow", migrations("workflow"))
    other_dsn, other = await at.database("bench_road_pgbench", migrations("claims"))
    await staff(workflow)
    definitions = FOLDER / "definitions"
    definitions.mkdir(exist_ok=True)
    (definitions / "bench.yaml").write_text(DEFINITION)
    async with (
        issuer() as tokens,
        service(at, "claims", dsn, tokens.url) as (claims, claims_port),
        service(at, "workflow", workflow_dsn, tokens.url, definitions_dir=str(definitions)) as (
            approvals,
            workflow_port,
        ),
        _payments(at, dsn) as payments,
    ):
        road = _Road(database, tokens, (claims_port, workflow_port), payments)
        (first,), _ = await road.drive(1)
        pgbench = Pgbench(other_dsn, other, await sample(database, first))
        before = cpu_seconds(claims), cpu_seconds(approvals)
        rates = await interleave(
            "road", {"pgbench": lambda: pgbench.rate(CLAIMS), "road": road.rate}, at.analyze
        )
        said = _spent("claims", claims, before[0]) | _spent("workflow", approvals, before[1])
    return [
        Figure(
            "whole road over HTTP",
            "claims/s",
            "pgbench submits, same rows",
            0.15,
            rates["pgbench"],
            rates["road"],
        )
    ], said


def _spent(name: str, one: Running, before: float) -> dict[str, str]:
    driven = CLAIMS * (ROUNDS + 1)
    milliseconds = (cpu_seconds(one) - before) * 1000 / driven
    return {
        f"CPU of {name} per claim on the road": f"{milliseconds:.1f} ms",
        f"memory of {name} after the road": f"{one.memory_bytes() / 2**20:.0f} MiB",
    }


class _Road:
    def __init__(
        self,
        database: Database,
        tokens: Issuer,
        ports: tuple[int, int],
        payments: AIOKafkaConsumer,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._claims_port, self._workflow_port = ports
        self._payments = payments

    async def rate(self) -> float:
        _, seconds = await self.drive(CLAIMS)
        return CLAIMS / seconds

    async def drive(self, count: int) -> tuple[list[str], float]:
        """So many claims, and the seconds from the first submit to the last payment asked for."""
        ids = await drafts(self._database, count)
        approving = asyncio.create_task(self._approve(count))
        paying = asyncio.create_task(self._last_payment(set(ids)))
        submitted = await load(self._claims_port, submits(self._tokens, ids))
        await approving
        return ids, (await paying - submitted["began"]) / 1e9

    async def _last_payment(self, waiting: set[str]) -> int:
        async with asyncio.timeout(120):
            while waiting:
                for records in (await self._payments.getmany(timeout_ms=200)).values():
                    for record in records:
                        if dict(record.headers)["ce_type"].decode() == PaymentRequested.TYPE:
                            waiting.discard(record.key.decode())
        return time.monotonic_ns()

    async def _approve(self, count: int) -> None:
        """Look into the inbox and approve all that is there in one call, until enough are."""
        token = self._tokens.token(MANAGER, "approver", exp=4_000_000_000)
        inbox, done = await connect(self._workflow_port), 0
        while done < count:
            page = await inbox.ask(request("GET", "/api/tasks?limit=200", token))
            tasks = json.loads(page)["items"]
            if not tasks:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            said = json.loads(await inbox.ask(_approval(tasks, token)))["items"]
            if refused := [one for one in said if one["task"] is None]:
                raise RefusedError(str(refused[0]))
            done += len(tasks)
        inbox.close()


def _approval(tasks: list[dict[str, str]], token: str) -> bytes:
    items = [
        {
            "task_id": task["task_id"],
            "decision": "approve",
            "content_hash": task["content_hash"],
        }
        for task in tasks
    ]
    body = json.dumps({"items": items}).encode()
    return request("POST", "/api/tasks/decide", token, body, key=str(uuid4()))


@asynccontextmanager
async def _payments(at: Servers, dsn: str) -> AsyncIterator[AIOKafkaConsumer]:
    settings = ServiceSettings(
        postgres_dsn=dsn, kafka_bootstrap_servers=at.bootstrap, oidc_issuer="http://nobody"
    )
    consumer = kafka.new_consumer(settings, group=f"bench-{uuid4()}")
    consumer.subscribe([CLAIM.name])
    await consumer.start()
    yield consumer
    await kafka.leave(consumer)
