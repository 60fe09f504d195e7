"""The edge: forged callbacks leave no trace, administrators see and retry what is stuck."""

import hashlib
import hmac
import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from chassis.http import Edge
from chassis.testing import Issuer, api_client
from events import InstanceId, TenantId
from oa_connector import handlers, store
from oa_connector.api import MAX_CALLBACK_BYTES, REFUSALS, callbacks, console, router
from oa_connector.delivery import Probe
from oa_connector.domain import Instance, Patience, ProbeReport, Snapshot, Status
from oa_connector.vendors.flowable import Flowable, FlowableCallbacks
from oa_road import PACE, flowable_at

SECRET = "callback-secret"
FLOWABLE = TenantId("flowable")
BODY = json.dumps({"type": "TASK_COMPLETED", "processInstanceId": "p1"}).encode()


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture
async def api(database, issuer):
    inbound = {FLOWABLE: FlowableCallbacks({"callback": SECRET}.__getitem__)}
    edge = Edge(
        name="oa-connector",
        database=database,
        verifier=issuer.verifier(),
        routers=(router,),
        public_routers=(callbacks(inbound),),
        refusals=REFUSALS,
    )
    async with api_client(edge) as client:
        yield client


def signed(body=BODY, *, secret=SECRET, at=None):
    at = at or int(time.time())
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-oa-signature": signature, "x-oa-timestamp": str(at), "x-oa-delivery": str(uuid4())}


async def count_callbacks(database):
    async with database.transaction() as tx:
        return await tx.fetchval("SELECT count(*) FROM callback")


async def taken(tx, states=store.SENDING):
    lease = timedelta(seconds=30)
    (one,) = await store.take_due(tx, FLOWABLE, states, limit=1, lease=lease)
    return one.submission


async def opened(database, event, instance_id="p1"):
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        found = [Instance(InstanceId(instance_id), event.content_hash, is_open=True)]
        await handlers.record_lookup(tx, await taken(tx), found, Patience())


async def test_a_proven_callback_is_kept_and_makes_its_submission_due(api, database, approval):
    event = approval()
    await opened(database, event)
    answer = await api.post("/callbacks/flowable", content=BODY, headers=signed())
    assert answer.status_code == 204
    async with database.transaction() as tx:
        assert (await store.submission(tx, f"{event.document_id}@1")).hints == 1
    assert await count_callbacks(database) == 1


async def test_a_callback_about_an_unknown_process_is_kept_and_acknowledged(api, database):
    answer = await api.post("/callbacks/flowable", content=BODY, headers=signed())
    assert (answer.status_code, await count_callbacks(database)) == (204, 1)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(secret="guessed"),
        signed(b"another body"),
        signed(at=int(time.time()) - 3600),
        signed(at=int(time.time()) + 3600),
    ],
    ids=["unsigned", "wrong secret", "other body", "stale", "from the future"],
)
async def test_a_forged_or_stale_callback_is_401_and_nothing_is_stored(api, database, headers):
    answer = await api.post(
        "/callbacks/flowable", content=BODY, headers={**headers, "accept-language": "en"}
    )
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "check the secret" in answer.json()["detail"]
    assert await count_callbacks(database) == 0


async def test_a_callback_for_an_unknown_oa_is_401(api, database):
    answer = await api.post("/callbacks/nobody", content=BODY, headers=signed())
    assert (answer.status_code, await count_callbacks(database)) == (401, 0)


async def test_a_replayed_callback_is_401_also_under_another_delivery_id(api, database):
    headers = signed()
    assert (await api.post("/callbacks/flowable", content=BODY, headers=headers)).is_success
    for delivery in (headers["x-oa-delivery"], str(uuid4())):
        again = {**headers, "x-oa-delivery": delivery}
        answer = await api.post("/callbacks/flowable", content=BODY, headers=again)
        assert answer.status_code == 401
    assert await count_callbacks(database) == 1


async def test_a_callback_that_the_oa_sends_again_is_acknowledged_and_has_no_second_effect(
    api, database, approval
):
    """It signs anew each time; what it says under the same delivery id must be the same."""
    event = approval()
    await opened(database, event)
    first = signed()
    delivery = {"x-oa-delivery": first["x-oa-delivery"]}
    assert (await api.post("/callbacks/flowable", content=BODY, headers=first)).is_success
    later = int(time.time()) + 1
    again = await api.post("/callbacks/flowable", content=BODY, headers=signed(at=later) | delivery)
    assert again.status_code == 204
    async with database.transaction() as tx:
        assert (await store.submission(tx, f"{event.document_id}@1")).hints == 1
    other = BODY.replace(b"p1", b"p2")
    headers = signed(other, at=later) | delivery
    assert (
        await api.post("/callbacks/flowable", content=other, headers=headers)
    ).status_code == 401
    assert await count_callbacks(database) == 1


@pytest.mark.parametrize("body", [b"no json", b"[" * 50_000, b"{}"])
async def test_a_signed_callback_that_cannot_be_read_is_400(api, database, body):
    answer = await api.post("/callbacks/flowable", content=body, headers=signed(body))
    assert (answer.status_code, await count_callbacks(database)) == (400, 0)


async def test_a_callback_over_the_cap_is_413(api, database):
    body = b" " * (MAX_CALLBACK_BYTES + 1)
    answer = await api.post("/callbacks/flowable", content=body, headers=signed(body))
    assert (answer.status_code, await count_callbacks(database)) == (413, 0)


async def test_an_administrator_sees_what_is_stuck_and_tries_again(api, database, issuer, approval):
    event = approval(tenant=TenantId("other"))
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        await handlers.refuse_strangers(tx, [FLOWABLE])
    headers = issuer.bearer("admin", "admin")
    listed = await api.get("/api/oa/submissions?state=NEEDS_HUMAN", headers=headers)
    (shown,) = listed.json()["items"]
    assert shown["document_id"] == event.document_id
    assert "other" in shown["last_error"]
    retry = f"/api/oa/submissions/{shown['business_key']}/retry"
    first = await api.post(retry, headers=headers)
    assert (first.status_code, first.json()["state"]) == (202, "UNKNOWN")
    assert (await api.post(retry, headers=headers)).status_code == 409


async def test_an_unknown_submission_is_404_and_an_unknown_state_422(api, issuer):
    headers = issuer.bearer("admin", "admin")
    missing = await api.post("/api/oa/submissions/nothing@1/retry", headers=headers)
    wrong = await api.get("/api/oa/submissions?state=LOST", headers=headers)
    assert (missing.status_code, wrong.status_code) == (404, 422)


async def test_roles_are_needed(api, issuer):
    auditor, nobody = issuer.bearer("a", "auditor"), issuer.bearer("e", "employee")
    assert (await api.get("/api/oa/submissions")).status_code == 401
    assert (await api.get("/api/oa/submissions", headers=nobody)).status_code == 403
    assert (await api.get("/api/oa/submissions", headers=auditor)).status_code == 200
    retry = await api.post("/api/oa/submissions/x@1/retry", headers=auditor)
    assert retry.status_code == 403


async def test_what_an_oa_said_of_itself_is_shown(api, database, issuer):
    async with database.transaction() as tx:
        report = ProbeReport("7.2.0", "flowable-7", forms={"claim": "ab"})
        await handlers.record_probe(tx, FLOWABLE, report, Flowable.capabilities)
        await store.save_silence(tx, FLOWABLE, "no answer")
        await store.save_pulse(tx, FLOWABLE, "opened", timedelta(seconds=-3))
    answer = await api.get("/api/oa/tenants", headers=issuer.bearer("a", "admin"))
    (shown,) = answer.json()["items"]
    assert (shown["version"], shown["error"], shown["degraded"]) == ("7.2.0", "no answer", False)
    assert (shown["breaker"], shown["clock_offset_seconds"]) == ("opened", -3.0)
    assert shown["capabilities"]["idempotency"] == "searchable"
    assert [(one["name"], one["paused"]) for one in shown["templates"]] == [("claim", False)]


async def test_a_repair_that_would_mend_nothing_is_409_and_the_case_still_waits(
    api, database, issuer
):
    headers = issuer.bearer("admin", "admin")
    orphan = Instance(InstanceId("p9"), None, is_open=True, business_key="lost@1")
    async with database.transaction() as tx:
        await handlers.reconcile(tx, FLOWABLE, [orphan])
    (case,) = (await api.get("/api/oa/drift", headers=headers)).json()["items"]
    resolve, judged = f"/api/oa/drift/{case['id']}/resolve", {"note": "a test of last week"}
    for repair in ("read_again", "send_again"):
        refused = await api.post(resolve, headers=headers, json={"repair": repair, **judged})
        assert refused.status_code == 409
        assert "withdraw, dismiss" in refused.json()["detail"]
    done = await api.post(resolve, headers=headers, json={"repair": "withdraw", **judged})
    assert (done.status_code, done.json()["repair"]) == (200, "withdraw")


async def listed(api, path: str, headers, **query) -> list[list[dict]]:
    """Every page of a list, one after the other."""
    pages, after = [], {}
    while True:
        answer = await api.get(f"/api/oa{path}", params={**query, **after}, headers=headers)
        page = answer.raise_for_status().json()
        pages.append(page["items"])
        if page["next"] is None:
            return pages
        after = {"after": page["next"]}


async def test_every_submission_is_listed_page_by_page_the_longest_untouched_first(
    api, database, issuer, approval
):
    await opened(database, first := approval())
    keys = []
    async with database.transaction() as tx:  # all touched at one moment
        for _ in range(5):
            event = approval()
            await handlers.on_approval_requested(tx, event)
            keys.append(f"{event.document_id}@1")
    pages = await listed(api, "/submissions", issuer.bearer("a", "auditor"), limit=2)
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    found = [one["business_key"] for page in pages for one in page]
    assert found == [f"{first.document_id}@1", *sorted(keys)]


@pytest.mark.parametrize("after", ["yesterday d@1", "2026-11-24T12:00:00 d@1", "2026-11-24T12:00Z"])
async def test_a_place_that_no_page_named_is_422(api, issuer, after):
    headers = issuer.bearer("a", "auditor")
    answer = await api.get("/api/oa/submissions", params={"after": after}, headers=headers)
    assert answer.status_code == 422


async def test_every_case_is_listed_page_by_page_the_newest_first(api, database, issuer, approval):
    wanted = []
    for _ in range(5):
        event = approval()
        await opened(database, event, str(event.document_id))
        async with database.transaction() as tx:
            held = await taken(tx, store.FOLLOWING)
            await handlers.record_snapshot(tx, held, Snapshot(Status.VANISHED), Patience())
        wanted.insert(0, f"{event.document_id}@1")
    pages = await listed(api, "/drift", issuer.bearer("a", "auditor"), limit=2)
    assert [[one["business_key"] for one in page] for page in pages] == [
        wanted[:2],
        wanted[2:4],
        wanted[4:],
    ]


async def test_each_oa_is_asked_now_and_shown_with_its_own_answer(database, issuer, people, proxy):
    await proxy.close()
    oas = {FLOWABLE: flowable_at(people), TenantId("away"): flowable_at(people, proxy.url)}
    edge = Edge(
        name="oa-connector",
        database=database,
        verifier=issuer.verifier(),
        routers=(
            router,
            console({}, {name: Probe(name, oa, PACE).once for name, oa in oas.items()}),
        ),
        refusals=REFUSALS,
    )
    async with api_client(edge) as api:
        admin, auditor = issuer.bearer("a", "admin"), issuer.bearer("a", "auditor")
        assert (await api.post("/api/oa/probe", headers=auditor)).status_code == 403
        answer = await api.post("/api/oa/probe", headers=admin)
        shown = {one["tenant"]: one for one in answer.json()["items"]}
        assert shown["flowable"]["version"].startswith("7.")
        assert (shown["flowable"]["error"], shown["away"]["version"]) == (None, None)
        assert "Connect" in shown["away"]["error"]
        # Nobody runs the loops here.
        assert [one["unattended"] for one in shown.values()] == [True, True]
        async with database.transaction() as tx:
            await store.save_pulse(tx, FLOWABLE, "closed", timedelta(0))
        listed = await api.get("/api/oa/tenants", headers=auditor)
        unattended = {one["tenant"]: one["unattended"] for one in listed.json()["items"]}
        assert unattended == {"flowable": False, "away": True}
    for oa in oas.values():
        await oa.close()
