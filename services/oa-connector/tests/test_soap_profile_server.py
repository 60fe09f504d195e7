"""A real SOAP server: the adapter's calls, and documents that go the whole way by a profile."""

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from chassis import Database
from events import ContentHash, DocumentId, EmployeeId, InstanceId
from events.oa import Drift, InstanceStatus, OADriftDetected, OAInstanceClosed, OAInstanceOpened
from local_stack.process import Process, answers
from local_stack.stack import Stack
from lxml import etree
from oa_connector import profiles
from oa_connector.delivery import Delivery
from oa_connector.domain import Accounts, Form, State, SubmitApproval, SubmitOutcome
from oa_connector.vendors import OAError
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.soap_profile import Profile, SoapProfile, load_profile
from oa_road import PACE, QUICK, TENANT, Road, delivering, eventually

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="the SOAP server's library, spyne, runs on Python 3.11 only",
)

FOLDER = Path(profiles.__path__[0])
SERVER = Path(__file__).parents[3] / "tests" / "simulators" / "soap_oa" / "server.py"
USER = "tonglu"


@dataclass(frozen=True)
class Served:
    """The server, and the pages on which its people act."""

    url: str

    async def do(self, what: str, **more: Any) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(f"{self.url}/people", json={"do": what, **more})
        assert reply.is_success, reply.text


@pytest.fixture
async def served(tmp_path) -> AsyncIterator[Served]:
    """One of its own for each test: what it holds and whom it knows are changed."""
    stack = Stack(tmp_path)
    port = stack.port("soap-oa")
    url = f"http://127.0.0.1:{port}"
    process = Process(
        name="soap-oa",
        command=(
            *(sys.executable, str(SERVER), "--port", str(port)),
            *("--user", USER, "--password", "first", "--version", "9.0"),
        ),
        ready=answers(f"{url}/soap?wsdl"),
    )
    try:
        await stack.up((), lambda _: [process])
        yield Served(url)
    finally:
        await stack.down()


@pytest.fixture
def profile() -> Profile:
    return load_profile(FOLDER / "workflow-soap.yaml")


@pytest.fixture
def secrets() -> dict[str, str]:
    return {"username": USER, "password": "first"}


@pytest.fixture
async def port(served, profile, secrets) -> AsyncIterator[SoapProfile]:
    port = adapter(served, profile, secrets)
    yield port
    await port.close()


def adapter(
    served: Served, profile: Profile, secrets: dict[str, str], patience: float = 5
) -> SoapProfile:
    limits = Limits(timeout=httpx.Timeout(patience, connect=3), failures=99)
    return SoapProfile(profile, served.url, secrets.__getitem__, limits, Accounts())


def command(approver: str = "chen") -> SubmitApproval:
    return SubmitApproval(
        business_key="d@1",
        document_id=DocumentId("d"),
        template="claim",
        content_hash=ContentHash("ab" * 32),
        form=Form("上海", "1488.00", "CNY", EmployeeId("lin"), ((1, EmployeeId(approver)),)),
    )


async def test_the_wsdl_beside_the_profile_is_the_one_the_server_serves(served, profile):
    async with httpx.AsyncClient(trust_env=False) as http:
        theirs = (await http.get(f"{served.url}{profile.path}?wsdl")).content
    assert shape(etree.fromstring(theirs)) == shape(etree.parse(profile.wsdl_file).getroot())


def shape(node: Any) -> Any:
    """What counts of a WSDL, in whatever order: neither its address nor its prose."""
    names = sorted((name, value) for name, value in node.attrib.items() if name != "location")
    parts = (child for child in node if not child.tag.endswith("}documentation"))
    return node.tag, names, sorted(shape(child) for child in parts)


async def test_an_envelope_that_is_sent_again_is_refused(port):
    sent: list[httpx.Request] = []
    port._channel.http.event_hooks["request"].append(keeping(sent))
    assert (await port.submit(command())).outcome is SubmitOutcome.ACCEPTED
    async with httpx.AsyncClient(trust_env=False) as http:
        again = await http.post(sent[0].url, content=sent[0].content, headers=sent[0].headers)
    assert (again.status_code, "Unauthenticated" in again.text) == (500, True)
    assert len(await port.resolve("d@1")) == 1


def keeping(sent: list[httpx.Request]) -> Callable[[httpx.Request], Any]:
    async def keep(request: httpx.Request) -> None:
        sent.append(request)

    return keep


async def test_a_wrong_password_creates_nothing_and_is_tried_again(port, secrets):
    secrets["password"] = "wrong"
    assert (await port.submit(command())).outcome is SubmitOutcome.RETRY_LATER
    secrets["password"] = "first"
    assert await port.resolve("d@1") == []


async def test_a_password_changed_on_both_sides_counts_from_the_next_call(served, port, secrets):
    await port.probe()
    await served.do("password", user=USER, password="second")
    with pytest.raises(OAError):
        await port.probe()
    secrets["password"] = "second"
    assert (await port.probe()).version == "9.0"


async def test_a_password_may_go_as_text_where_the_oa_wants_that(served, profile, secrets):
    security = profile.security.model_copy(update={"kind": "text"})
    port = adapter(served, profile.model_copy(update={"security": security}), secrets)
    assert (await port.submit(command())).outcome is SubmitOutcome.ACCEPTED
    secrets["password"] = "wrong"
    assert (await port.submit(command())).outcome is SubmitOutcome.RETRY_LATER
    await port.close()


async def test_an_oa_that_is_too_slow_leaves_it_unknown_and_one_process(served, port):
    await served.do("delay", seconds=8)
    assert (await port.submit(command())).outcome is SubmitOutcome.UNKNOWN
    await served.do("delay", seconds=0)
    (found,) = await port.resolve("d@1")
    assert found.content_hash == "ab" * 32


async def test_a_key_with_more_processes_than_a_page_holds_shows_them_all(port):
    created = [(await port.submit(command())).instance_id for _ in range(52)]
    assert [one.instance_id for one in await port.resolve("d@1")] == created


async def test_an_approver_whom_the_oa_does_not_know_is_refused(port):
    result = await port.submit(command("nobody"))
    assert (result.outcome, "nobody" in result.detail) == (SubmitOutcome.REJECTED, True)


async def test_a_process_that_never_was_has_vanished(port):
    assert (await port.fetch(InstanceId("1"))).status == "vanished"


async def opened(road: Road) -> InstanceId:
    """The id of the document's process, once the OA has told it."""
    await eventually(lambda: road.has(OAInstanceOpened))
    return (await road.submission()).instance_id


async def decide(served: Served, instance_id: InstanceId, who: str, outcome: str) -> None:
    await served.do("decide", id=instance_id, who=who, outcome=outcome, opinion="看过")


async def reconcile(database: Database, port: SoapProfile) -> None:
    await Delivery({TENANT: port}, QUICK, PACE).reconciliation(TENANT).cycle(database)


async def test_a_document_is_approved_by_two_people(database, served, port, road):
    await road.request()
    async with delivering(database, None, oa=port):
        instance_id = await opened(road)
        await decide(served, instance_id, "chen", "approve")
        await decide(served, instance_id, "zhou", "approve")
        assert await road.closed_as() is InstanceStatus.APPROVED
    assert await road.decisions() == [(1, "chen", "approve"), (2, "zhou", "approve")]


async def test_a_create_that_was_not_answered_in_time_is_found_again(
    database, served, profile, secrets, road
):
    await served.do("delay", seconds=4)
    port = adapter(served, profile, secrets, patience=1)
    await road.request()
    async with delivering(database, None, oa=port):
        await eventually(lambda: is_in(road, State.UNKNOWN, State.RESOLVING))
        await served.do("delay", seconds=0)
        instance_id = await opened(road)
        assert [one.instance_id for one in await port.resolve(road.key)] == [instance_id]
    await port.close()


async def is_in(road: Road, *states: State) -> bool:
    return (await road.submission()).state in states


async def test_an_approval_taken_back_in_the_oa_is_told(database, served, port, road):
    await road.request()
    async with delivering(database, None, oa=port):
        instance_id = await opened(road)
        await decide(served, instance_id, "chen", "approve")
        await decide(served, instance_id, "zhou", "approve")
        await road.closed_as()
        await served.do("take_back", id=instance_id)
        await reconcile(database, port)
        await eventually(lambda: road.has(OAInstanceClosed, 2))
    assert (await road.said())[-1].status is InstanceStatus.REVOKED


async def test_an_amount_changed_in_the_oa_decides_nothing(database, served, port, road):
    await road.request()
    async with delivering(database, None, oa=port):
        instance_id = await opened(road)
        await served.do("change", id=instance_id, field="amount", value="9488.00")
        await decide(served, instance_id, "chen", "approve")
        await eventually(lambda: road.has(OADriftDetected))
    (found,) = [one for one in await road.said() if isinstance(one, OADriftDetected)]
    assert (found.drift, await road.decisions()) == (Drift.AMOUNT_MISMATCH, [])
