"""The whole road by HTTP: submitted, approved natively, until its payment is asked for on Kafka.

Two services as real processes with all their parts; beside it the submits of pgbench alone.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer
from chassis import kafka
from chassis.db import Database
from chassis.settings import ServiceSettings
from chassis.testing import Issuer
from drafts import CONNECTIONS, EMPLOYEE, Pgbench, drafts, load, sample, submits
from events.claims import CLAIM, PaymentRequested
from harness import Figure, interleave
from load import Connection, connect, request
from processes import issuer, migrations, service
from servers import FOLDER, Servers

CLAIMS = 300
MANAGER = "M1"
_DEFINITION = """
id: bench
version: 1
name: {zh: 压测, en: Benchmark}
kind: claim
mode: native
steps:
  - name: 直属上级
    approver: {rule: line_manager}
"""
_PEOPLE = """
INSERT INTO employee (employee_id, department_id, manager_id, roles, is_active)
VALUES ($1, 'D1', $2, '{}', true), ($2, 'D1', NULL, '{admin}', true)
"""


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_road", migrations("claims"))
    workflow_dsn, workflow = await at.database("bench_workflow", migrations("workflow"))
    other_dsn, other = await at.database("bench_pgbench", migrations("claims"))
    await workflow.pool.execute(_PEOPLE, EMPLOYEE, MANAGER)
    definitions = FOLDER / "definitions"
    definitions.mkdir(exist_ok=True)
    (definitions / "bench.yaml").write_text(_DEFINITION)
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
        (first,) = await road.drive(1)
        pgbench = Pgbench(other_dsn, other, await sample(database, first))
        rates = await interleave(
            "road", {"pgbench": lambda: pgbench.rate(CLAIMS * 5), "road": road.rate}
        )
        memory = {
            f"memory of {name} after {CLAIMS * 6:,} claims": f"{one.memory_bytes() / 2**20:.0f} MiB"
            for name, one in (("claims", claims), ("workflow", approvals))
        }
    return [
        Figure(
            "whole road over HTTP",
            "claims/s",
            "pgbench submits, same rows",
            0.15,
            rates["pgbench"],
            rates["road"],
        )
    ], memory


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
        began = await self.drive(CLAIMS)
        return len(began) / self.seconds

    seconds: float = 0.0

    async def drive(self, count: int) -> list[str]:
        """So many claims from their submit to the request of their payment."""
        ids = await drafts(self._database, count)
        approving = asyncio.create_task(self._approve(count))
        paying = asyncio.create_task(self._last_payment(set(ids)))
        submitted = await load(self._claims_port, submits(self._tokens, ids))
        await approving
        self.seconds = (await paying - submitted["began"]) / 1e9
        return ids

    async def _last_payment(self, waiting: set[str]) -> int:
        async with asyncio.timeout(120):
            while waiting:
                for records in (await self._payments.getmany(timeout_ms=200)).values():
                    for record in records:
                        if dict(record.headers)["ce_type"].decode() == PaymentRequested.TYPE:
                            waiting.discard(record.key.decode())
        return time.monotonic_ns()

    async def _approve(self, count: int) -> None:
        """Look into the inbox and approve what is there, until as many are approved."""
        token = self._tokens.token(MANAGER, "approver", exp=4_000_000_000)
        connections = [await connect(self._workflow_port) for _ in range(CONNECTIONS)]
        done = 0
        while done < count:
            page = await connections[0].ask(request("GET", "/api/tasks?limit=200", token))
            todo = deque(_approval(task, token) for task in json.loads(page)["items"])
            done += len(todo)
            async with asyncio.TaskGroup() as group:
                for connection in connections:
                    group.create_task(_work(connection, todo))
            if not todo:
                await asyncio.sleep(0.005)
        for connection in connections:
            connection.close()


async def _work(connection: Connection, todo: deque[bytes]) -> None:
    while todo:
        await connection.ask(todo.popleft())


def _approval(task: dict[str, str], token: str) -> bytes:
    said = {"decision": "approve", "content_hash": task["content_hash"]}
    path = f"/api/tasks/{task['task_id']}/decide"
    return request("POST", path, token, json.dumps(said).encode(), key=task["task_id"])


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
