"""The Flowable adapter against odd answers, as a server, a proxy or a broken disk gives them."""

import asyncio
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from events import InstanceId
from oa_connector import domain
from oa_connector.delivery import Pace
from oa_connector.domain import Accounts, Sight, SubmitOutcome, Window
from oa_connector.vendors import (
    CallbackMalformedError,
    CallbackRefusedError,
    ContractError,
    NotSentError,
    NotTakenError,
    OAError,
    RefusedError,
)
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess, FlowableCallbacks
from structlog.testing import capture_logs

BASE = "http://oa.test/process-api"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRET = "the-secret"
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.fixture
async def oa():
    access = FlowableAccess("http://oa.test", "oa-admin", lambda _: "secret")
    flowable = Flowable(access, Limits(failures=1000), Accounts())
    yield flowable
    await flowable.close()


@pytest.fixture
def new(approval):
    return domain.requested(approval(), NOW).submission.command


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (httpx.Response(201, json={"id": "p1", "ended": False}), SubmitOutcome.ACCEPTED),
        (httpx.Response(201), SubmitOutcome.UNKNOWN),
        (httpx.Response(201, json={"id": None}), SubmitOutcome.UNKNOWN),
        (httpx.Response(201, json=["p1"]), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, text=HTML), SubmitOutcome.UNKNOWN),
        (httpx.Response(302, headers={"location": "/login"}), SubmitOutcome.UNKNOWN),
        (
            httpx.Response(500, json={"message": "Internal server error", "exception": "NPE"}),
            SubmitOutcome.UNKNOWN,
        ),
        (httpx.Response(502, text=HTML), SubmitOutcome.UNKNOWN),
        (httpx.Response(408), SubmitOutcome.UNKNOWN),
        (
            httpx.Response(400, json={"message": "Bad request", "exception": "no definition"}),
            SubmitOutcome.REJECTED,
        ),
        (httpx.Response(404, text=HTML), SubmitOutcome.REJECTED),
        (httpx.Response(401), SubmitOutcome.RETRY_LATER),
        (httpx.Response(403), SubmitOutcome.RETRY_LATER),
        (httpx.Response(429), SubmitOutcome.RETRY_LATER),
        (httpx.ConnectError("refused"), SubmitOutcome.RETRY_LATER),
        (httpx.ConnectTimeout("slow"), SubmitOutcome.RETRY_LATER),
        (httpx.ReadTimeout("slow"), SubmitOutcome.UNKNOWN),
        (httpx.WriteError("cut"), SubmitOutcome.UNKNOWN),
        (httpx.RemoteProtocolError("cut"), SubmitOutcome.UNKNOWN),
    ],
    ids=lambda value: str(value)[:40],
)
@respx.mock
async def test_each_answer_to_a_create_means_no_more_than_it_says(oa, new, reply, outcome):
    respx.get(f"{BASE}/identity/users").respond(json={"total": 1})
    respx.post(f"{BASE}/runtime/process-instances").mock(
        **({"side_effect": reply} if isinstance(reply, Exception) else {"return_value": reply})
    )
    result = await oa.submit(new)
    assert result.outcome is outcome
    assert bool(result.detail) is (outcome is not SubmitOutcome.ACCEPTED)


@respx.mock
async def test_the_form_holds_amounts_as_text_and_the_content_hash(oa, new):
    respx.get(f"{BASE}/identity/users").respond(json={"total": 1})
    route = respx.post(f"{BASE}/runtime/process-instances").respond(201, json={"id": "p1"})
    await oa.submit(new)
    sent = json.loads(route.calls.last.request.content)
    variables = {one["name"]: one["value"] for one in sent["variables"]}
    assert sent["businessKey"] == f"{new.document_id}@1"
    assert variables["amount"] == "1488.00"
    assert variables["approvers"] == ["chen", "zhou"]
    assert variables["contentHash"] == new.content_hash


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200),
        httpx.Response(200, text=HTML),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, json={"total": 300, "data": []}),
        httpx.Response(200, json={"total": 1, "data": [{"endTime": "yesterday"}]}),
        httpx.Response(404, json={"message": "Not found"}),
        httpx.Response(500, json={"message": "Internal server error"}),
        httpx.ReadTimeout("slow"),
    ],
    ids=lambda value: str(value)[:40],
)
@respx.mock
async def test_an_odd_answer_to_a_question_is_no_answer(oa, reply):
    respx.get(f"{BASE}/history/historic-process-instances").mock(
        **({"side_effect": reply} if isinstance(reply, Exception) else {"return_value": reply})
    )
    with pytest.raises(OAError):
        await oa.resolve("d@1")
    with pytest.raises(OAError):
        await oa.fetch(InstanceId("p1"))


def processes(*keys: str | None) -> dict[str, object]:
    data = [
        {"id": f"p{n}", "processDefinitionId": "tonglu-approval:1:x", "businessKey": key}
        for n, key in enumerate(keys)
    ]
    return {"total": len(data), "data": data}


@respx.mock
async def test_what_is_shown_under_another_key_is_not_ours(oa):
    """Flowable leaves out a parameter that it does not know, and shows every process."""
    route = respx.get(f"{BASE}/history/historic-process-instances")
    route.respond(json=processes("d@10", "d@1", "D@1"))
    assert [one.instance_id for one in await oa.resolve("d@1")] == ["p1"]
    route.respond(json=processes("d@1", None))
    with pytest.raises(ContractError, match="businessKey finds nothing"):
        await oa.resolve("d@1")


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        ({}, "pending"),
        ({"endActivityId": "approved"}, "approved"),
        ({"endActivityId": "rejected"}, "rejected"),
        ({"endActivityId": "returned"}, "returned"),
        ({"endActivityId": "approvedByMagic"}, "UNKNOWN"),
        ({"endActivityId": None, "deleteReason": "gone"}, "withdrawn"),
        ({"endActivityId": None, "deleteReason": None}, "UNKNOWN"),
    ],
)
@respx.mock
async def test_only_the_three_known_ends_have_a_meaning(oa, ended, status):
    process = {"id": "p1", "variables": [], **ended}
    if ended:
        process["endTime"] = "2026-11-24T16:35:04.014Z"
    respx.get(f"{BASE}/history/historic-process-instances").respond(
        json={"total": 1, "data": [process]}
    )
    respx.get(f"{BASE}/history/historic-task-instances").respond(json={"total": 0, "data": []})
    assert (await oa.fetch(InstanceId("p1"))).status == status


USERS = f"{BASE}/identity/users"


def asking_chen(**ended: str) -> None:
    """A process that asks chen, still or at its end."""
    process = {"id": "p1", "variables": [], **ended}
    respx.get(f"{BASE}/history/historic-process-instances").respond(
        json={"total": 1, "data": [process]}
    )
    task = {"id": "t1", "assignee": "chen"}
    respx.get(f"{BASE}/history/historic-task-instances").respond(json={"total": 1, "data": [task]})


async def silent(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError("it was cut off")


@pytest.mark.parametrize(
    "users",
    [httpx.ReadTimeout("slow"), httpx.ConnectError("refused"), silent],
    ids=["slow", "refused", "silent"],
)
@respx.mock
async def test_a_process_is_read_though_the_oa_does_not_say_who_has_an_account(oa, users):
    asking_chen()
    respx.get(USERS).mock(side_effect=users)
    seen = await Pace(call=0.2, lease=1.0).within(oa.fetch(InstanceId("p1")))
    assert (seen.status, seen.waiting, seen.missing) == ("pending", ("chen",), ())


@respx.mock
async def test_nobody_is_looked_for_who_is_asked_in_a_process_that_has_ended(oa):
    asking_chen(endTime="2026-11-24T16:35:04.014Z", endActivityId="approved")
    users = respx.get(USERS)
    assert (await oa.fetch(InstanceId("p1"))).status == "approved"
    assert not users.called


@respx.mock
async def test_an_oa_that_cannot_say_who_has_an_account_is_not_asked_at_each_reading(oa):
    asking_chen()
    users = respx.get(USERS).respond(403)
    for _ in range(3):
        assert (await oa.fetch(InstanceId("p1"))).missing == ()
    assert users.call_count == 1
    assert not oa.refuses_us  # it lets us in: only this list is not for us


@respx.mock
async def test_where_the_time_is_over_before_a_create_is_sent_it_is_sent_later(oa, new):
    respx.get(USERS).mock(side_effect=silent)
    create = respx.post(f"{BASE}/runtime/process-instances")
    result = await Pace(call=0.2, lease=1.0).within(oa.submit(new))
    assert result.outcome is SubmitOutcome.RETRY_LATER
    assert not create.called


COMMENTS = f"{BASE}/history/historic-process-instances/p1/comments"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(401), NotTakenError),
        (httpx.Response(403), NotTakenError),
        (httpx.Response(429), NotTakenError),
        (httpx.Response(503, text=HTML), NotTakenError),
        (httpx.Response(400), RefusedError),
        (httpx.Response(500), OAError),
        (httpx.Response(504, text=HTML), OAError),
        (httpx.ReadTimeout("slow"), OAError),
        (httpx.ConnectError("refused"), NotSentError),
    ],
    ids=lambda value: str(value)[:40],
)
@respx.mock
async def test_whether_a_note_may_stand_in_the_oa_is_told_from_its_answer(oa, reply, kind):
    respx.post(COMMENTS).mock(side_effect=[reply])
    with pytest.raises(OAError) as caught:
        await oa.comment(InstanceId("p1"), "decided in Tonglu")
    assert type(caught.value) is kind


@pytest.mark.parametrize("reply", [httpx.ReadTimeout("slow"), httpx.Response(500)], ids=str)
@respx.mock
async def test_no_note_stands_in_an_oa_that_does_not_say_who_is_to_find_it(oa, reply):
    respx.post(COMMENTS).respond(404)
    respx.get(f"{BASE}/history/historic-task-instances").mock(side_effect=[reply])
    with pytest.raises(NotTakenError):
        await oa.comment(InstanceId("p1"), "decided in Tonglu")


def signed(body: bytes, at: int, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-oa-signature": signature, "x-oa-timestamp": str(at), "x-oa-delivery": "d1"}


BODY = b'{"processInstanceId": "p1"}'
AT = int(NOW.timestamp())


@respx.mock
async def test_a_page_of_changed_tasks_costs_two_calls_however_many_processes_it_names(oa):
    ended = "2026-11-24T11:00:00.000Z"
    tasks = [{"id": f"t{n}", "processInstanceId": f"p{n}", "endTime": ended} for n in range(200)]
    history = respx.get(f"{BASE}/history/historic-task-instances")
    history.respond(json={"total": 200, "data": tasks})
    running = respx.post(f"{BASE}/query/historic-process-instances").respond(
        json={
            "total": 3,
            "data": [
                {"id": "p7", "processDefinitionId": "tonglu-approval:1:x"},
                {"id": "p8", "processDefinitionId": "leave:1:x"},
                {"id": "never-asked-for", "processDefinitionId": "tonglu-approval:1:x"},
            ],
        }
    )
    window = Window(NOW - timedelta(hours=2), NOW)
    page = await oa.scan(Sight.POLL_CHANGED_SINCE, window, "tasks:0")
    assert [(one.instance_id, one.changed_at.hour) for one in page.instances] == [("p7", 11)]
    assert page.next is None
    asked = json.loads(running.calls.last.request.content)
    assert (len(asked["processInstanceIds"]), asked["finished"]) == (200, False)
    assert respx.calls.call_count == 2


@respx.mock
async def test_no_changed_tasks_ask_for_no_process_for_an_empty_list_would_show_them_all(oa):
    respx.get(f"{BASE}/history/historic-task-instances").respond(json={"total": 0, "data": []})
    window = Window(NOW - timedelta(hours=2), NOW)
    assert (await oa.scan(Sight.POLL_CHANGED_SINCE, window, "tasks:0")).instances == ()


callbacks = FlowableCallbacks({"callback": SECRET, "callback_previous": "the-old"}.__getitem__)


def test_a_signed_and_fresh_callback_is_a_hint():
    assert [hint.instance_id for hint in callbacks.open(signed(BODY, AT), BODY, NOW)] == ["p1"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        (signed(BODY, AT, "another"), BODY),
        (signed(BODY, AT), BODY + b" "),
        ({**signed(BODY, AT), "x-oa-timestamp": str(AT + 1)}, BODY),
        ({**signed(BODY, AT), "x-oa-signature": "é"}, BODY),
        (signed(BODY, AT - 301), BODY),
        (signed(BODY, AT + 301), BODY),
    ],
)
def test_a_forged_or_stale_callback_is_refused(headers, body):
    with pytest.raises(CallbackRefusedError):
        callbacks.open(headers, body, NOW)


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b"\xff", b"[" * 60_000])
def test_a_signed_callback_that_cannot_be_read_is_malformed(body):
    with pytest.raises(CallbackMalformedError):
        callbacks.open(signed(body, AT), body, NOW)


def test_a_callback_without_a_delivery_id_is_malformed():
    headers = {**signed(BODY, AT), "x-oa-delivery": ""}
    with pytest.raises(CallbackMalformedError):
        callbacks.open(headers, BODY, NOW)


def rotating(**found: str | Exception) -> FlowableCallbacks:
    """Callbacks whose secrets are these, or cannot be read for these reasons."""

    def secret(name: str) -> str:
        if isinstance(one := found[name], Exception):
            raise one
        return one

    return FlowableCallbacks(secret)


UNUSABLE = [KeyError("gone"), ValueError("it is empty"), PermissionError("not ours to read")]


@pytest.mark.parametrize("error", UNUSABLE, ids=repr)
def test_a_previous_secret_that_cannot_be_used_is_passed_over(error):
    port = rotating(callback=SECRET, callback_previous=error)
    assert [hint.instance_id for hint in port.open(signed(BODY, AT), BODY, NOW)] == ["p1"]
    with pytest.raises(CallbackRefusedError):
        port.open(signed(BODY, AT, "another"), BODY, NOW)


@pytest.mark.parametrize("error", UNUSABLE, ids=repr)
def test_where_the_secret_itself_cannot_be_used_callbacks_are_refused_and_the_log_says_why(error):
    port = rotating(callback=error, callback_previous=ValueError("it is empty"))
    for secret in (SECRET, ""):
        with capture_logs() as logged, pytest.raises(CallbackRefusedError):
            port.open(signed(BODY, AT, secret), BODY, NOW)
        assert [(one["event"], one["name"]) for one in logged] == [
            ("secret unusable", "callback"),
            ("secret unusable", "callback_previous"),
        ]
