"""Request Tracker 5 under the HTTP profile that we ship for it.

OA_RT_URL names a server that runs elsewhere, with `rt/expenses.initialdata` loaded, and
OA_RT_CALLBACK the file (reachable from here) in which it looks where its callbacks go.
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
from local_stack import rt
from oa_connector import profiles
from oa_connector.domain import Accounts
from oa_connector.vendors import ApprovalPort, InboundPort
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.http_profile import HttpProfile, Profile, callbacks, load_profile

PASSWORD = "for-tests-only"
CALLBACK_SECRET = "what-rt-signs-with"
_DATA = Path(__file__).parent / "rt" / "expenses.initialdata"
_PROFILE = Path(profiles.__path__[0]) / "rt5.yaml"
_WORDS = {"approve": "resolved", "reject": "rejected"}


def missing() -> str | None:
    return None if os.environ.get("OA_RT_URL") else rt.missing()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator["RequestTracker"]:
    async with contextlib.AsyncExitStack() as stack:
        url, callback_file = await stack.enter_async_context(_server())
        address = urlsplit(url)
        proxy = await stack.enter_async_context(Proxy(address.hostname, address.port).running())
        listener = await stack.enter_async_context(Listener().running())
        callback_file.write_text(f"{listener.url}\n{CALLBACK_SECRET}\n")
        profile = load_profile(_PROFILE)
        rig = RequestTracker(url, proxy, listener, profile, _port(profile, proxy.url))
        stack.push_async_callback(rig.port.close)
        yield rig


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[str, Path]]:
    elsewhere = os.environ.get("OA_RT_URL")
    if elsewhere:
        yield elsewhere, Path(os.environ["OA_RT_CALLBACK"])
        return
    stack = own_stack("request-tracker")
    folder, port = stack.folder / "rt", stack.port("rt")
    try:
        await stack.up((), lambda _: [rt.server(folder, port, _DATA)])
        yield f"http://127.0.0.1:{port}", folder / "callback"
    finally:
        await stack.down()


def _port(profile: Profile, url: str) -> HttpProfile:
    secrets = {"username": "conn", "password": PASSWORD}
    # A breaker that opens late, since the suite itself makes trouble; and RT takes its time.
    limits = Limits(
        calls_per_second=20, burst=20, failures=50, people=0, timeout=httpx.Timeout(60, connect=3)
    )
    return HttpProfile(profile, url, secrets.__getitem__, limits, Accounts())


@dataclass
class RequestTracker:
    base_url: str
    proxy: Proxy
    listener: Listener
    profile: Profile
    port: ApprovalPort
    name: str = "rt"
    template: str = "claim"
    newer_version: tuple[bytes, bytes] = (b'"5.0.', b'"9.9.')
    odd_status: tuple[bytes, bytes] = (b'"Status" : "open"', b'"Status" : "odd!"')

    @property
    def inbound(self) -> InboundPort:
        return callbacks(self.profile, {"callback": CALLBACK_SECRET}.__getitem__)

    def rotated(self) -> InboundPort:
        secrets = {"callback": "the-new-one", "callback_previous": CALLBACK_SECRET}
        return callbacks(self.profile, secrets.__getitem__)

    def stranger(self) -> InboundPort:
        return callbacks(self.profile, {"callback": "another"}.__getitem__)

    async def decide(self, instance_id: InstanceId, who: str, outcome: str, opinion: str) -> None:
        if outcome not in _WORDS:
            raise Absent("approvals in RT are given or refused, not returned")
        step = await self._approval(instance_id, who, "open")
        note = {"Content": opinion, "ContentType": "text/plain", "Status": _WORDS[outcome]}
        await self._call(who, "POST", f"/ticket/{step}/correspond", json=note)

    async def take_back(self, instance_id: InstanceId, who: str) -> None:
        step = await self._approval(instance_id, who, "resolved")
        await self._call(who, "PUT", f"/ticket/{step}", json={"Status": "rejected"})

    async def delete(self, instance_id: InstanceId) -> None:
        for step in await self._approvals(instance_id):
            await self._call("oa-admin", "PUT", f"/ticket/{step['id']}", json={"Status": "deleted"})
        await self._call("oa-admin", "PUT", f"/ticket/{instance_id}", json={"Status": "deleted"})

    async def change_amount(self, instance_id: InstanceId, amount: str) -> None:
        fields = {"CustomFields": {"Amount": amount}}
        await self._call("oa-admin", "PUT", f"/ticket/{instance_id}", json=fields)

    @contextlib.asynccontextmanager
    async def change_form(self, template: str) -> AsyncIterator[None]:
        queue = await self._call("oa-admin", "GET", f"/queue/{self.profile.templates[template]}")
        field = next(one for one in queue["TicketCustomFields"] if one["name"] == "Currency")
        path = f"/customfield/{field['id']}"
        await self._call("oa-admin", "PUT", path, json={"Name": "Money"})
        try:
            yield
        finally:
            await self._call("oa-admin", "PUT", path, json={"Name": "Currency"})

    @contextlib.asynccontextmanager
    async def without(self, who: str) -> AsyncIterator[None]:
        await self._call("oa-admin", "PUT", f"/user/{who}", json={"Disabled": 1})
        try:
            yield
        finally:
            await self._call("oa-admin", "PUT", f"/user/{who}", json={"Disabled": 0})

    async def abandon(self, instance_id: InstanceId) -> None:
        """So does RT itself, when an approver may not own what is to be approved."""
        step = await self._approval(instance_id, "chen", "open")
        await self._call("oa-admin", "PUT", f"/ticket/{step}", json={"Owner": "Nobody"})

    async def comments(self, instance_id: InstanceId) -> list[str]:
        query = {"fields": "Type", "per_page": "100"}
        history = await self._call("chen", "GET", f"/ticket/{instance_id}/history", params=query)
        found = []
        for one in history["items"]:
            if one["Type"] == "Comment":
                path = f"/transaction/{one['id']}/attachments"
                parts = await self._call("chen", "GET", path, params={"fields": "Content"})
                found += [part["Content"] for part in parts["items"]]
        return found

    def forgetful(self) -> ApprovalPort:
        """RT answers 201 to a field that does not exist."""
        given = self.profile.create.call.json_body
        fields = {**given["CustomFields"]}
        fields["ExternalIdd"] = fields.pop("ExternalId")
        call = self.profile.create.call.model_copy(
            update={"json_body": {**given, "CustomFields": fields}}
        )
        create = self.profile.create.model_copy(update={"call": call})
        return _port(self.profile.model_copy(update={"create": create}), self.base_url)

    async def _approval(self, instance_id: InstanceId, who: str, status: str) -> str:
        found = await self._approvals(instance_id)
        return next(
            one["id"] for one in found if one["Owner"]["id"] == who and one["Status"] == status
        )

    async def _approvals(self, instance_id: InstanceId) -> list[dict[str, Any]]:
        query = {
            "query": f"Queue = '___Approvals' AND DependedOnBy = {instance_id}",
            "fields": "Status,Owner",
            "orderby": "id",
        }
        return (await self._call("oa-admin", "GET", "/tickets", params=query))["items"]

    async def _call(self, who: str, method: str, path: str, **more: Any) -> Any:
        """As this person, straight to RT; a 200 that refuses is a failure of the test."""
        async with httpx.AsyncClient(auth=(who, PASSWORD), timeout=60, trust_env=False) as http:
            reply = await http.request(method, f"{self.base_url}/REST/2.0{path}", **more)
        assert reply.is_success, f"{who} {method} {path}: {reply.status_code} {reply.text}"
        assert "Permission Denied" not in reply.text, reply.text
        assert "unresolved dependencies" not in reply.text, reply.text
        return reply.json()
