"""What tests on a real Flowable share: its people, a proxy that cuts, the loops, one road."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import httpx
from chassis import Database
from events import Event, TenantId, event_class
from events.oa import (
    InstanceStatus,
    OADecisionReceived,
    OAInstanceClosed,
)
from events.workflow import ApprovalRequested
from local_stack.testing import PASSWORD
from oa_connector import handlers, store
from oa_connector.delivery import Delivery, Pace
from oa_connector.domain import Accounts, Patience, State
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess

TENANT = TenantId("flowable")
SECRET = "callback-secret"
QUICK = Patience(
    lookups=tuple(timedelta(milliseconds=wait) for wait in (100, 200, 400)),
    longest=timedelta(seconds=1),
    poll_young=timedelta(milliseconds=200),
)
LIMITS = Limits(rest=0.2)
PACE = Pace(poll=0.05, call=5.0, lease=11.0)
START = b"POST /process-api/runtime/process-instances "


async def eventually(is_so: Callable[[], Awaitable[object]], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not await is_so():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)


async def said_about(one: object, other: object) -> bool:
    """For `eventually`, where there is nothing to wait for but the value itself."""
    return one == other


@dataclass
class People:
    """What people do in the OA, each signed in as oneself."""

    url: str
    admin: tuple[str, str]

    async def call(self, method: str, path: str, who: str | None = None, **more) -> httpx.Response:
        auth = (who, PASSWORD) if who else self.admin
        async with httpx.AsyncClient(base_url=f"{self.url}/process-api", auth=auth) as http:
            return await http.request(method, path, timeout=20, **more)

    async def processes(self, key: str) -> list[dict]:
        found = await self.call(
            "GET",
            "/history/historic-process-instances",
            params={"businessKey": key, "includeProcessVariables": "true"},
        )
        return found.raise_for_status().json()["data"]

    async def tasks(self, key: str) -> list[dict]:
        query = {"processInstanceBusinessKey": key}
        return (await self.call("GET", "/runtime/tasks", params=query)).json()["data"]

    async def decide(self, who: str, key: str, outcome: str) -> httpx.Response:
        await eventually(lambda: self._has_task(who, key))
        task = (await self.tasks(key))[0]
        return await self.complete(who, task["id"], outcome)

    async def complete(self, who: str, task_id: str, outcome: str) -> httpx.Response:
        variables = [
            {"name": "outcome", "value": outcome, "scope": "local"},
            {"name": "opinion", "value": "同意", "scope": "local"},
        ]
        body = {"action": "complete", "variables": variables}
        return await self.call("POST", f"/runtime/tasks/{task_id}", who, json=body)

    async def _has_task(self, who: str, key: str) -> bool:
        return any(task["assignee"] == who for task in await self.tasks(key))


@dataclass
class Proxy:
    """Between us and the OA: refuses connections, or drops the reply to a matching request.

    `then` happens as soon as that request has gone on to the OA.
    """

    host: str
    port: int
    cut: bytes | None = None
    then: Callable[[], Awaitable[None]] | None = None
    is_cutting: bool = False
    happening: asyncio.Task | None = None  # a task of its own: the connection may end before it
    cuts: int = 0
    server: asyncio.Server | None = None
    at: int = 0
    _tasks: set[asyncio.Task] = field(default_factory=set)

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.at)
        self.at = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.at}"

    async def _serve(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        pumps = {
            asyncio.create_task(self._forward(reader, far_writer)),
            asyncio.create_task(self._back(far_reader, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            writer.close()
            far_writer.close()
            self._tasks.discard(task)

    async def _forward(self, reader, far_writer) -> None:
        while request := await reader.read(65_536):
            if self.cut and request.startswith(self.cut):
                self.cut, self.is_cutting = None, True
            far_writer.write(request)
            if self.is_cutting and self.then is not None:
                self.is_cutting = False  # it cuts the reply itself
                await far_writer.drain()
                self.happening = asyncio.ensure_future(self.then())

    async def _back(self, far_reader, writer) -> None:
        while reply := await far_reader.read(65_536):
            if self.is_cutting:
                self.cuts, self.is_cutting = self.cuts + 1, False
                return
            writer.write(reply)


def flowable_at(
    people: People, url: str | None = None, limits: Limits = LIMITS, **changed
) -> Flowable:
    user, password = people.admin
    access = FlowableAccess(url or people.url, user, lambda _: password, **changed)
    return Flowable(access, limits, Accounts())


@asynccontextmanager
async def delivering(database, people, url=None, *, pace=PACE, patience=QUICK, oa=None):
    """The loops of one process of the connector, drained at the end."""
    oa = oa or flowable_at(people, url)
    draining = asyncio.Event()
    loops = asyncio.create_task(Delivery({TENANT: oa}, patience, pace).deliver(database, draining))
    try:
        yield
    finally:
        draining.set()
        await loops


@dataclass
class Road:
    """One document on its way, and what was said about it so far."""

    database: Database
    event: ApprovalRequested

    @property
    def key(self) -> str:
        return f"{self.event.document_id}@{self.event.revision}"

    async def request(self) -> None:
        async with self.database.transaction() as tx:
            await handlers.on_approval_requested(tx, self.event)

    async def said(self) -> list[Event]:
        async with self.database.transaction() as tx:
            rows = await tx.fetch(
                "SELECT type, payload FROM outbox WHERE key = $1 ORDER BY seq",
                self.event.document_id,
            )
        return [event_class(row["type"]).model_validate_json(row["payload"]) for row in rows]

    async def has(self, kind: type[Event], count: int = 1) -> bool:
        return sum(isinstance(fact, kind) for fact in await self.said()) >= count

    async def submission(self):
        async with self.database.transaction() as tx:
            return await store.submission(tx, self.key)

    async def is_read(self) -> bool:
        """In the OA, its first look is over, and nobody looks again by itself for a while."""
        async with self.database.transaction() as tx:
            row = await tx.fetchrow(
                "SELECT read_at IS NOT NULL AND next_at > $2 AS is_so FROM submission"
                " WHERE document_id = $1",
                *(self.event.document_id, tx.now + timedelta(minutes=1)),
            )
        return row is not None and row["is_so"] is True

    async def decisions(self) -> list[tuple[int, str, str]]:
        found = [fact for fact in await self.said() if isinstance(fact, OADecisionReceived)]
        return [(fact.step, fact.decided_by, fact.decision) for fact in found]

    async def closed_as(self) -> InstanceStatus:
        await eventually(lambda: self.has(OAInstanceClosed))
        assert (await self.submission()).state is State.CLOSED
        return (await self.said())[-1].status


def callback(process: str, kind: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"type": kind, "processInstanceId": process, "n": str(uuid4())}).encode()
    at = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-oa-signature": signature, "x-oa-timestamp": at, "x-oa-delivery": str(uuid4())}
    return body, headers
