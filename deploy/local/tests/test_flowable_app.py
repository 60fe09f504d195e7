import asyncio
import hashlib
import hmac
import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from local_stack.places import CACHE
from local_stack.room import Options
from local_stack.stack import Stack
from local_stack.testing import PASSWORD, PEOPLE

# In the order of the file: the last of them take the receiver of hints away.
pytestmark = pytest.mark.xdist_group("flowable app")
SECRET = "hint-secret"


class Receiver(BaseHTTPRequestHandler):
    """Keeps every hint with whether its signature is right."""

    hints: ClassVar[list[tuple[bool, str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = self.headers["X-OA-Timestamp"].encode() + b"." + body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        is_right = hmac.compare_digest(expected, self.headers["X-OA-Signature"])
        self.hints.append((is_right, self.headers["X-OA-Delivery"], json.loads(body)))
        self.send_response(204)
        # This server closes after each answer; a client that is not told would send
        # its next hint on the dying connection, and lose it.
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Oa:
    """The OA, and the calls that its people and Tonglu make."""

    url: str
    receiver: HTTPServer
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def call(self, method: str, path: str, who: str = "oa-admin", **more) -> httpx.Response:
        api = f"{self.url}/process-api"
        async with httpx.AsyncClient(base_url=api, auth=(who, PASSWORD), timeout=30) as http:
            return await http.request(method, path, **more)

    async def start(self, approvers: object) -> httpx.Response:
        variables = [{"name": "approvers", "value": approvers}]
        body = {
            "processDefinitionKey": "tonglu-approval",
            "businessKey": self.key,
            "variables": [*variables, {"name": "contentHash", "value": "a1", "type": "string"}],
        }
        return await self.call("POST", "/runtime/process-instances", json=body)

    async def decide(self, who: str, **local: str) -> httpx.Response:
        tasks = await self.call("GET", f"/runtime/tasks?processInstanceBusinessKey={self.key}")
        (task,) = tasks.json()["data"]
        variables = [{"name": n, "value": v, "scope": "local"} for n, v in local.items()]
        body = {"action": "complete", "variables": variables}
        return await self.call("POST", f"/runtime/tasks/{task['id']}", who, json=body)

    async def ended_as(self) -> tuple[str | None, str | None]:
        """The end event and the reason of a cancellation."""
        path = f"/history/historic-process-instances?businessKey={self.key}"
        (process,) = (await self.call("GET", path)).json()["data"]
        assert process["endTime"]
        return process["endActivityId"], process["deleteReason"]

    async def decisions(self) -> list[dict[str, str]]:
        query = {"processBusinessKey": self.key, "includeTaskLocalVariables": "true"}
        found = await self.call(
            "GET", "/history/historic-task-instances", params=query | {"sort": "startTime"}
        )
        tasks = found.json()["data"]
        return [{one["name"]: one["value"] for one in task["variables"]} for task in tasks]

    def hints(self) -> list[tuple[bool, str, dict[str, Any]]]:
        return [hint for hint in Receiver.hints if hint[2]["businessKey"] == self.key]


@pytest.fixture(scope="module")
def server() -> Iterator[Oa]:
    """An OA of this module's own, since it sends its hints here."""
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever).start()
    folder = CACHE / f"oa-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    people = folder / "people.json"
    people.write_text(json.dumps([{**person, "password": PASSWORD} for person in PEOPLE]))
    target = f"http://127.0.0.1:{receiver.server_port}/"
    stack = Stack(folder, Options(people_file=people, webhook_url=target, webhook_secret=SECRET))
    try:
        address = wait(stack.up(["flowable"], elsewhere={}))
        yield Oa(address["FLOWABLE_URL"], receiver)
    finally:
        wait(stack.down())
        receiver.shutdown()
        receiver.server_close()
        shutil.rmtree(folder)


@pytest.fixture
def oa(server) -> Oa:
    return Oa(server.url, server.receiver)


def wait(work: Any) -> Any:
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 -- the other side is a process
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("outcomes", "end"),
    [
        (("approve", "approve"), "approved"),
        (("approve", "reject"), "rejected"),
        (("return",), "returned"),
        (("looks fine",), "returned"),
    ],
)
async def test_approvers_decide_in_turn_and_the_first_no_ends_it(oa, outcomes, end):
    assert (await oa.start(["chen", "zhou"])).status_code == 201
    for who, outcome in zip(("chen", "zhou"), outcomes, strict=False):
        assert (await oa.decide(who, outcome=outcome, opinion="已核对")).status_code == 200
    assert await oa.ended_as() == (end, None)
    assert await oa.decisions() == [
        {"outcome": outcome, "opinion": "已核对", "completedBy": who}
        for who, outcome in zip(("chen", "zhou"), outcomes, strict=False)
    ]


async def test_only_the_assignee_or_an_administrator_decides_and_history_says_who(oa):
    await oa.start(["chen"])
    refused = await oa.decide("zhou", outcome="approve")
    assert refused.status_code == 403
    assert "chen" in refused.json()["exception"]
    assert (await oa.decide("oa-admin", outcome="reject")).status_code == 200
    assert await oa.decisions() == [{"outcome": "reject", "completedBy": "oa-admin"}]


async def test_a_decision_without_an_outcome_is_refused(oa):
    await oa.start(["chen"])
    assert (await oa.decide("chen", opinion="嗯")).status_code == 400


@pytest.mark.parametrize("approvers", [[], "chen", ["chen", "nobody"], None])
async def test_a_start_that_could_never_be_decided_is_refused(oa, approvers):
    refused = await oa.start(approvers)
    assert refused.status_code == 400
    assert "approvers" in refused.json()["exception"]


async def test_a_cancelled_process_has_a_reason_and_no_end_event(oa):
    pid = (await oa.start(["chen"])).json()["id"]
    cancel = await oa.call("DELETE", f"/runtime/process-instances/{pid}?deleteReason=撤回")
    assert cancel.status_code == 204
    assert await oa.ended_as() == (None, "撤回")


async def test_hints_are_signed_and_each_is_a_delivery_of_its_own(oa):
    await oa.start(["chen"])
    await oa.decide("chen", outcome="approve")
    await eventually(lambda: any(h[2]["event"] == "PROCESS_COMPLETED" for h in oa.hints()))
    hints = oa.hints()
    assert all(is_right for is_right, _, _ in hints)
    assert len({delivery for _, delivery, _ in hints}) == len(hints)
    decided = next(h[2] for h in hints if h[2]["event"] == "TASK_COMPLETED")
    assert (decided["assignee"], decided["outcome"]) == ("chen", "approve")


async def test_strangers_see_the_page_and_nothing_else(oa):
    async with httpx.AsyncClient(base_url=oa.url) as http:
        page = await http.get("/")
        refused = await http.get("/process-api/runtime/tasks")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "Flowable" in page.text
    assert refused.status_code == 401
    assert "www-authenticate" not in refused.headers


async def test_password_hashes_are_for_administrators(oa):
    assert (await oa.call("GET", "/identity/users", "chen")).status_code == 403


async def test_a_receiver_that_is_down_loses_hints_and_no_process(oa):
    oa.receiver.shutdown()
    oa.receiver.server_close()
    assert (await oa.start(["chen"])).status_code == 201
    assert (await oa.decide("chen", outcome="approve")).status_code == 200
    assert await oa.ended_as() == ("approved", None)
