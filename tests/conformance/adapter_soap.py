"""A workflow service by SOAP 1.1 under the example profile, served by tests/simulators/soap_oa."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from events import InstanceId
from kit import Absent, Listener, Proxy, own_stack
from local_stack.process import Process, answers
from oa_connector import profiles
from oa_connector.domain import Accounts
from oa_connector.vendors import ApprovalPort, InboundPort
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.soap_profile import Profile, SoapProfile, callbacks, load_profile

USER, PASSWORD, CALLBACK_SECRET = "tonglu", "for-tests-only", "what-the-oa-signs-with"
_SERVER = Path(__file__).parents[1] / "simulators" / "soap_oa" / "server.py"
_PROFILE = Path(profiles.__path__[0]) / "workflow-soap.yaml"
_FORM = ["documentId", "contentHash", "amount", "currency", "details", "claimUrl"]


def missing() -> str | None:
    if sys.version_info >= (3, 12):
        return "the SOAP server's library, spyne, runs on Python 3.11 only"
    return None


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator["SoapOA"]:
    async with contextlib.AsyncExitStack() as stack:
        listener = await stack.enter_async_context(Listener().running())
        url, port = await stack.enter_async_context(_server(listener.url))
        proxy = await stack.enter_async_context(Proxy("127.0.0.1", port).running())
        profile = load_profile(_PROFILE)
        rig = SoapOA(url, proxy, listener, profile, adapter(profile, proxy.url))
        stack.push_async_callback(rig.port.close)
        yield rig


@contextlib.asynccontextmanager
async def _server(callback: str) -> AsyncIterator[tuple[str, int]]:
    stack = own_stack("soap-oa")
    port = stack.port("soap-oa")
    url = f"http://127.0.0.1:{port}"
    process = Process(
        name="soap-oa",
        command=(
            *(sys.executable, str(_SERVER), "--port", str(port)),
            *("--user", USER, "--password", PASSWORD),
            *("--callback", callback, "--secret", CALLBACK_SECRET),
        ),
        ready=answers(f"{url}/soap?wsdl"),
    )
    try:
        await stack.up((), lambda _: [process])
        yield url, port
    finally:
        await stack.down()


def adapter(profile: Profile, url: str, password: str = PASSWORD) -> SoapProfile:
    secrets = {"username": USER, "password": password}
    # A breaker that opens late: the suite itself makes trouble.
    return SoapProfile(profile, url, secrets.__getitem__, Limits(failures=50, people=0), Accounts())


@dataclass
class SoapOA:
    base_url: str
    proxy: Proxy
    listener: Listener
    profile: Profile
    port: ApprovalPort
    name: str = "soap"
    template: str = "claim"
    newer_version: tuple[bytes, bytes] = (b"9.00.", b"99.0.")
    odd_status: tuple[bytes, bytes] = ("已归档".encode(), "已归宗".encode())

    @property
    def inbound(self) -> InboundPort:
        return callbacks(self.profile, {"callback": CALLBACK_SECRET}.__getitem__)

    def rotated(self) -> InboundPort:
        secrets = {"callback": "the-new-one", "callback_previous": CALLBACK_SECRET}
        return callbacks(self.profile, secrets.__getitem__)

    def stranger(self) -> InboundPort:
        return callbacks(self.profile, {"callback": "another"}.__getitem__)

    async def decide(self, instance_id: InstanceId, who: str, outcome: str, opinion: str) -> None:
        await self._do("decide", instance_id, who=who, outcome=outcome, opinion=opinion)

    async def take_back(self, instance_id: InstanceId, who: str) -> None:
        await self._do("take_back", instance_id, who=who)

    async def delete(self, instance_id: InstanceId) -> None:
        await self._do("delete", instance_id)

    async def change_amount(self, instance_id: InstanceId, amount: str) -> None:
        await self._do("change", instance_id, field="amount", value=amount)

    @contextlib.asynccontextmanager
    async def change_form(self, template: str) -> AsyncIterator[None]:
        assert template == self.template
        await self._do("form", "", fields=[*_FORM, "project"])
        try:
            yield
        finally:
            await self._do("form", "", fields=_FORM)

    @contextlib.asynccontextmanager
    async def without(self, who: str) -> AsyncIterator[None]:
        raise Absent(f"a call by which it says whether {who} is still there")
        yield

    async def abandon(self, instance_id: InstanceId) -> None:
        raise Absent(f"a step without a person ({instance_id})")

    async def comments(self, instance_id: InstanceId) -> list[str]:
        found: list[str] = await self._do("remarks", instance_id)
        return found

    def forgetful(self) -> ApprovalPort:
        """The OA takes any field and drops those that its form does not have."""
        call = self.profile.create.call
        request = {**call.arguments["request"]}
        key = {"name": "requestKey", "value": request.pop("requestKey")}
        request["fields"] = {"Field": [*request["fields"]["Field"], key]}
        changed = call.model_copy(update={"arguments": {"request": request}})
        create = self.profile.create.model_copy(update={"call": changed})
        return adapter(self.profile.model_copy(update={"create": create}), self.base_url)

    async def _do(self, what: str, instance_id: str, **more: Any) -> Any:
        """On the OA's own pages."""
        told = json.dumps({"do": what, "id": instance_id, **more})
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(f"{self.base_url}/people", content=told)
        assert reply.is_success, reply.text
        return reply.json()
