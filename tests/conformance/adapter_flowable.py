"""Flowable under its own adapter.

OA_FLOWABLE_URL names a server that runs elsewhere, with the people of `local_stack.testing`; its
callbacks cannot be pointed here then, and the rows about them fail.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from events import InstanceId
from kit import Absent, Listener, Proxy, own_stack
from local_stack.room import Options
from local_stack.testing import PASSWORD, write_people
from oa_connector.domain import Accounts
from oa_connector.vendors import ApprovalPort, InboundPort
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess, FlowableCallbacks

CALLBACK_SECRET = "what-flowable-signs-with"
_PROCESS = "tonglu-approval"


def missing() -> str | None:
    return None


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator["FlowableOA"]:
    async with contextlib.AsyncExitStack() as stack:
        listener = await stack.enter_async_context(Listener().running())
        url = await stack.enter_async_context(_server(listener))
        address = urlsplit(url)
        proxy = await stack.enter_async_context(Proxy(address.hostname, address.port).running())
        secrets = {"password": PASSWORD, "callback": CALLBACK_SECRET}
        access = FlowableAccess(proxy.url, "oa-admin", secrets.__getitem__, deploy=True)
        # A breaker that opens late: the suite itself makes trouble.
        port = Flowable(access, Limits(failures=50, people=0), Accounts())
        stack.push_async_callback(port.close)
        yield FlowableOA(url, proxy, listener, port)


@contextlib.asynccontextmanager
async def _server(listener: Listener) -> AsyncIterator[str]:
    elsewhere = os.environ.get("OA_FLOWABLE_URL")
    if elsewhere:
        yield elsewhere
        return
    people = Path(os.environ["TONGLU_TEST_STACK"]) / "oa-people.json"
    write_people(people)
    options = Options(
        durable=False,
        people_file=people,
        webhook_url=listener.url,
        webhook_secret=CALLBACK_SECRET,
    )
    stack = own_stack("flowable", options)
    try:
        yield (await stack.up(("flowable",)))["FLOWABLE_URL"]
    finally:
        await stack.down()


@dataclass
class FlowableOA:
    base_url: str
    proxy: Proxy
    listener: Listener
    port: ApprovalPort
    name: str = "flowable"
    template: str = "claim"
    newer_version: tuple[bytes, bytes] = (b'"version":"7.', b'"version":"9.')
    odd_status: tuple[bytes, bytes] = (b'"endActivityId":"approved"', b'"endActivityId":"approvxd"')

    @property
    def inbound(self) -> InboundPort:
        return FlowableCallbacks({"callback": CALLBACK_SECRET}.__getitem__)

    def rotated(self) -> InboundPort:
        secrets = {"callback": "the-new-one", "callback_previous": CALLBACK_SECRET}
        return FlowableCallbacks(secrets.__getitem__)

    def stranger(self) -> InboundPort:
        return FlowableCallbacks({"callback": "another"}.__getitem__)

    async def decide(self, instance_id: InstanceId, who: str, outcome: str, opinion: str) -> None:
        query = {"assignee": who, "processInstanceId": instance_id}
        tasks = await self._call(who, "GET", "/runtime/tasks", params=query)
        decision = {
            "action": "complete",
            "variables": [
                {"name": "outcome", "value": outcome, "scope": "local"},
                {"name": "opinion", "value": opinion, "scope": "local"},
                {"name": "lastOutcome", "value": outcome},
            ],
        }
        await self._call(who, "POST", f"/runtime/tasks/{tasks['data'][0]['id']}", json=decision)

    async def take_back(self, instance_id: InstanceId, who: str) -> None:
        raise Absent(f"{who} cannot take back what has ended {instance_id}")

    async def delete(self, instance_id: InstanceId) -> None:
        await self._call("oa-admin", "DELETE", f"/runtime/process-instances/{instance_id}")
        await self._call("oa-admin", "DELETE", f"/history/historic-process-instances/{instance_id}")

    async def change_amount(self, instance_id: InstanceId, amount: str) -> None:
        path = f"/runtime/process-instances/{instance_id}/variables"
        changed = [{"name": "amount", "value": amount, "type": "string"}]
        await self._call("oa-admin", "PUT", path, json=changed)

    @contextlib.asynccontextmanager
    async def change_form(self, template: str) -> AsyncIterator[None]:
        assert template == self.template
        query = {"key": _PROCESS, "latest": "true"}
        found = await self._call("oa-admin", "GET", "/repository/process-definitions", params=query)
        path = f"/repository/process-definitions/{found['data'][0]['id']}/resourcedata"
        async with self._as("oa-admin") as http:
            source = (await http.get(path)).raise_for_status().text
        changed = source.replace('name="审批 Approve"', 'name="批准 Approve"').encode()
        assert changed != source.encode()
        files = {"file": (f"{_PROCESS}.bpmn20.xml", changed)}
        made = await self._call("oa-admin", "POST", "/repository/deployments", files=files)
        try:
            yield
        finally:
            await self._call("oa-admin", "DELETE", f"/repository/deployments/{made['id']}")

    @contextlib.asynccontextmanager
    async def without(self, who: str) -> AsyncIterator[None]:
        """Flowable has no account that is closed: it is there or not."""
        await self._call("oa-admin", "DELETE", f"/identity/users/{who}")
        try:
            yield
        finally:
            user = {"id": who, "firstName": who, "lastName": "", "password": PASSWORD}
            await self._call("oa-admin", "POST", "/identity/users", json=user)

    async def abandon(self, instance_id: InstanceId) -> None:
        raise Absent(f"a task without a person waits for its group ({instance_id})")

    async def comments(self, instance_id: InstanceId) -> list[str]:
        """On the process; after its end, in a task that whoever decided finds in the list."""
        path = f"/history/historic-process-instances/{instance_id}/comments"
        found = [one["message"] for one in await self._call("chen", "GET", path)]
        tasks = await self._call("chen", "GET", "/runtime/tasks", params={"assignee": "chen"})
        return found + [one["description"] or "" for one in tasks["data"]]

    def forgetful(self) -> ApprovalPort:
        raise Absent("fields that are dropped without a word")

    def _as(self, who: str) -> httpx.AsyncClient:
        base = f"{self.base_url}/process-api"
        return httpx.AsyncClient(base_url=base, auth=(who, PASSWORD), timeout=30, trust_env=False)

    async def _call(self, who: str, method: str, path: str, **more: Any) -> Any:
        """As this person, straight to the engine."""
        async with self._as(who) as http:
            reply = await http.request(method, path, **more)
        assert reply.is_success, f"{who} {method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None
