"""An OA whose secret is empty or whose answers are odd troubles itself and nobody else."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import respx
from events import TenantId
from events.oa import OAContractChanged, OAInstanceOpened
from oa_connector import store
from oa_connector.delivery import Delivery, Probe
from oa_connector.domain import Accounts, ProbeReport
from oa_connector.settings import FlowableTenant
from oa_connector.vendors import ApprovalPort, OAError, PausedError
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess
from oa_road import PACE, QUICK, TENANT, delivering, eventually, flowable_at
from structlog.testing import capture_logs

BROKEN = TenantId("broken")
OFTEN = replace(PACE, probe_again=0.2)
AT_ONCE = replace(OFTEN, reconcile_every=0.1)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    return tmp_path / "oa_password"


def flowable_with(password: Path, url: str) -> Flowable:
    tenant = FlowableTenant(
        kind="flowable",
        base_url=url,
        username="oa-admin",
        secrets={"callback": "hook"},
        secret_files={"password": password},
    )
    return Flowable(FlowableAccess(url, "oa-admin", tenant.secret), Limits(), Accounts())


async def error_of(database, tenant: TenantId) -> str | None:
    async with database.transaction() as tx:
        return {one.tenant: one.error for one in await store.tenants(tx)}.get(tenant)


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff"], ids=repr)
async def test_an_oa_whose_password_cannot_be_read_delays_no_other(
    database, people, road, password, content
):
    if content is not None:
        password.write_bytes(content if isinstance(content, bytes) else content.encode())
    oas = {BROKEN: flowable_with(password, people.url), TENANT: flowable_at(people)}
    draining = asyncio.Event()
    loops = asyncio.create_task(Delivery(oas, QUICK, OFTEN).deliver(database, draining))
    await eventually(lambda: error_of(database, BROKEN))
    assert "a secret cannot be read" in await error_of(database, BROKEN)
    await road.request()
    await eventually(lambda: road.has(OAInstanceOpened))
    password.write_text(people.admin[1])

    async def is_well() -> bool:
        return await error_of(database, BROKEN) is None

    await eventually(is_well)
    draining.set()
    await loops


class Odd:
    """An OA whose probe is as a test wants it, once for each time that it is asked."""

    capabilities = Flowable.capabilities

    def __init__(self, oa: ApprovalPort, *answers: ProbeReport | Exception) -> None:
        self._oa = oa
        self._answers = answers
        self.asked_at: list[float] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._oa, name)

    async def probe(self) -> ProbeReport:
        self.asked_at.append(time.monotonic())
        answer = self._answers[min(len(self.asked_at), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_probe_that_breaks_is_made_again(database, people):
    oa = Odd(flowable_at(people), RuntimeError("a defect"), ProbeReport("7.2.0", "flowable-7"))
    async with delivering(database, people, oa=oa, pace=OFTEN):
        await eventually(lambda: error_of(database, TENANT))
        assert await error_of(database, TENANT) == "the probe failed: RuntimeError"

        async def is_well() -> bool:
            return await error_of(database, TENANT) is None

        await eventually(is_well)


async def test_a_report_that_cannot_be_kept_ends_nothing(database, people, road):
    oa = Odd(flowable_at(people), ProbeReport("7\0", "flowable-7"))
    async with delivering(database, people, oa=oa, pace=OFTEN):

        async def was_asked_again() -> bool:
            return len(oa.asked_at) > 1

        await eventually(was_asked_again)
        await road.request()
        await eventually(lambda: road.has(OAInstanceOpened))


@pytest.mark.parametrize("version", ["9." + "1" * 200, "开发版 " * 40])
@respx.mock
async def test_a_version_as_long_as_a_page_is_kept_short_and_said(database, version):
    respx.get("http://oa.test/process-api/management/engine").respond(json={"version": version})
    respx.route(url__startswith="http://oa.test/process-api/repository").respond(json={"data": []})
    access = FlowableAccess("http://oa.test", "oa-admin", lambda _: "secret")
    oa = Flowable(access, Limits(), Accounts())
    assert await Probe(TENANT, oa, PACE).once(database)
    await oa.close()
    async with database.transaction() as tx:
        said = await tx.fetchval(
            "SELECT payload FROM outbox WHERE type = $1", OAContractChanged.TYPE
        )
    assert OAContractChanged.model_validate_json(said).version == version[:64]


async def test_what_can_never_be_read_has_the_oa_probed_again_but_not_without_a_pause(
    database, people
):
    oa = Odd(flowable_at(people), ProbeReport("7.2.0", "flowable-7"))
    probe = Probe(TENANT, oa, OFTEN)
    draining = asyncio.Event()
    running = asyncio.create_task(probe.run(database, draining))

    async def was_asked_often() -> bool:
        probe.soon()
        return len(oa.asked_at) > 3

    await eventually(was_asked_often)
    draining.set()
    await running
    await oa.close()
    pauses = [then - now for now, then in zip(oa.asked_at, oa.asked_at[1:], strict=False)]
    assert min(pauses) >= OFTEN.probe_again


async def test_an_oa_that_refuses_our_account_in_ordinary_work_is_probed_at_once(
    database, people, road, password
):
    """The next round would be hours away."""
    password.write_text(people.admin[1])
    oa = flowable_with(password, people.url)
    await road.request()
    async with delivering(database, people, oa=oa, pace=OFTEN):
        await eventually(lambda: road.has(OAInstanceOpened))
        assert await error_of(database, TENANT) is None
        password.write_text("changed in the OA")
        await eventually(lambda: error_of(database, TENANT))
        assert "401" in await error_of(database, TENANT)


async def test_what_an_oa_writes_is_shown_to_its_administrator_and_stands_in_no_log(database, road):
    """An error page may quote the title of a document, or a person."""
    secret = "王经理的上海之行"
    access = FlowableAccess("http://oa.test", "oa-admin", lambda _: "secret")
    oa = Flowable(access, Limits(failures=1000), Accounts())
    await road.request()
    with respx.mock, capture_logs() as logged:
        respx.route().respond(500, text=f"no room for {secret}")

        async def was_sent() -> bool:
            return secret in ((await road.submission()).last_error or "")

        async def all_have_said_so() -> bool:
            told = {"oa silent to a probe", "oa silent", "reconciliation cut short"}
            return told <= {one["event"] for one in logged}

        async with delivering(database, None, oa=oa, pace=AT_ONCE):
            await eventually(lambda: error_of(database, TENANT))
            await eventually(was_sent)
            await eventually(all_have_said_so)
    assert secret in await error_of(database, TENANT)
    assert secret not in str(logged)


@pytest.mark.parametrize(
    ("silence", "is_probed"), [(OAError("503"), True), (PausedError("left alone"), False)], ids=str
)
async def test_of_an_oa_that_is_silent_about_one_process_it_is_asked_whether_it_answers_at_all(
    database, people, road, silence, is_probed
):
    await road.request()
    oa = flowable_at(people)
    probe = Probe(TENANT, oa, PACE)
    delivery = Delivery({TENANT: oa}, QUICK, PACE, {TENANT: probe})
    async with database.transaction() as tx:
        lease = timedelta(seconds=30)
        (taken,) = await store.take_due(tx, TENANT, store.SENDING, limit=1, lease=lease)

    async def in_vain(*_: object) -> None:
        raise silence

    await delivery.work_on(database, oa, taken, in_vain)
    assert probe.wanted.is_set() is is_probed
    await oa.close()
