"""The HTTP profile against odd answers, as a server, a proxy or a mistaken profile gives them."""

import copy
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
import respx
import yaml
from events import ContentHash, DocumentId, EmployeeId, InstanceId
from hypothesis import given
from hypothesis import strategies as st
from oa_connector.domain import (
    Ability,
    Accounts,
    Form,
    Idempotency,
    Sight,
    Status,
    SubmitApproval,
    SubmitOutcome,
    Window,
)
from oa_connector.vendors import (
    CallbackMalformedError,
    CallbackRefusedError,
    ContractError,
    NotSentError,
    NotTakenError,
    OAError,
)
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.http_profile import HttpProfile, Profile, callbacks, load_profile
from oa_connector.vendors.profile import ProfileError, Reply, rendered
from oa_connector.vendors.profile.reading import has_list
from oa_connector.vendors.profile.sight import decided

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WINDOW = Window(NOW, NOW + timedelta(hours=8))
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
SECRETS = {"user": "conn", "password": "p", "callback": "now", "callback_previous": "before"}

PROFILE = yaml.safe_load("""
name: test-oa
auth: {kind: basic, username: user, password: password}
account: user
clock: {zone: Asia/Shanghai, format: "%Y-%m-%d %H:%M"}
claim_url: https://tonglu.test/claims/{document_id}
templates: {claim: EXP}
create:
  call:
    method: POST
    path: /start/${template}
    json: {key: "${business_key}", title: "${title}", who: "${approvers}", lines: "# ${details}",
           url: "${claim_url}", hash: "${content_hash}", fixed: [1, null, true]}
    accepted_when: [{status: [200], path: $.id}]
    refused_when: [{status: [400]}, {path: "$[*]", matches: "Permission Denied"}]
    retry_when: [{status: [429]}, {path: $.code, matches: "^88$"}]
  instance_id: $.id
process:
  instance_id: $.id
  status: $.state
  business_key: $.key
  content_hash: $.hash
  amount: $.amount
  changed_at: $.changed
  revision: {header: ETag, pattern: '"(\\d+)"'}
statuses: {running: pending, done: approved, ended: terminated, gone: vanished}
fetch: {call: {method: GET, path: "/p/${instance_id}"}}
steps:
  each: $.steps[*]
  step_id: $.id
  status: $.state
  words: {wait: asked, agree: approve, refuse: reject, back: return, void: none}
  person: $.who
  decided_by: $.by
  decided_at: $.at
  opinion: $.note
  decides: true
  expected: $.approvers[*]
resolve:
  call: {method: GET, path: /find, params: {q: "key='${business_key}'"}}
  each: $.items[*]
  page_size: 2
scan:
  changed:
    call: {method: GET, path: /changed, params: {from: "${begins}", after: "${cursor}"}}
    each: $.items[*]
    first: "0"
    next: $.items[-1:].id
    page_size: 2
withdraw:
  - call: {method: POST, path: "/p/${instance_id}/end", form: {why: "${reason}"}}
comment: {method: POST, path: "/p/${instance_id}/note", json: {text: "${text}"}}
probe:
  call: {method: GET, path: /version}
  version: $.version
  known: {at_least: "5.0", below: "5.1"}
callback:
  verify: {kind: hmac, header: X-Sig, timestamp: X-Time, prefix: "sha256=",
           secrets: [callback, callback_previous]}
  instance_id: $.id
  delivery_id: {header: X-Id}
""")


def changed(changes: dict) -> dict:
    """The profile above; each change is a path with `__` and its new value, None to leave out."""
    content = copy.deepcopy(PROFILE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = content
        for name in parents:
            part = part[name]
        part.pop(last, None)
        if value is not None:
            part[last] = value
    return content


def profile(**changes) -> Profile:
    return Profile.model_validate(changed(changes))


def adapter(**changes) -> HttpProfile:
    accounts = Accounts({EmployeeId("E1"): "boss"})
    return HttpProfile(
        profile(**changes), "http://oa.test/", SECRETS.__getitem__, Limits(), accounts
    )


@pytest.fixture
async def oa():
    port = adapter()
    yield port
    await port.close()


@pytest.fixture
def command() -> SubmitApproval:
    form = Form("标题", "12.50", "CNY", EmployeeId("E9"), ((1, EmployeeId("E1")),), ("一", "二"))
    return SubmitApproval("d@1", DocumentId("d"), "claim", ContentHash("a1" * 32), form)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (httpx.Response(200, json={"id": 7}), SubmitOutcome.ACCEPTED),
        (httpx.Response(200, json={"id": ""}), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, json={"id": None}), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, json={"id": {"x": 1}}), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, json={}), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, json=["Ticket 6: Permission Denied"]), SubmitOutcome.REJECTED),
        (httpx.Response(200, json={"code": 88, "id": 7}), SubmitOutcome.RETRY_LATER),
        (httpx.Response(200, json={"code": 880, "id": 7}), SubmitOutcome.ACCEPTED),
        (httpx.Response(200, text=HTML), SubmitOutcome.UNKNOWN),
        (httpx.Response(200, text="[" * 100_000), SubmitOutcome.UNKNOWN),
        (httpx.Response(201, json={"id": 7}), SubmitOutcome.UNKNOWN),
        (httpx.Response(302, headers={"location": "/login"}), SubmitOutcome.UNKNOWN),
        (httpx.Response(400, text="no"), SubmitOutcome.REJECTED),
        (httpx.Response(404), SubmitOutcome.UNKNOWN),
        (httpx.Response(429, text=HTML), SubmitOutcome.RETRY_LATER),
        (httpx.Response(500, json={"id": 7}), SubmitOutcome.UNKNOWN),
        (httpx.ConnectError("refused"), SubmitOutcome.RETRY_LATER),
        (httpx.ReadTimeout("slow"), SubmitOutcome.UNKNOWN),
        (httpx.RemoteProtocolError("cut"), SubmitOutcome.UNKNOWN),
    ],
)
@respx.mock
async def test_a_create_is_judged_by_the_profile_and_else_unknown(oa, command, reply, outcome):
    respx.post("http://oa.test/start/EXP").mock(side_effect=[reply])
    result = await oa.submit(command)
    assert result.outcome is outcome
    assert result.instance_id == ("7" if outcome is SubmitOutcome.ACCEPTED else None)


@respx.mock
async def test_a_create_sends_the_values_where_the_placeholders_stand(oa, command):
    route = respx.post("http://oa.test/start/EXP").respond(json={"id": 7})
    await oa.submit(command)
    request = route.calls.last.request
    assert httpx.Response(200, content=request.content).json() == {
        "key": "d@1",
        "title": "标题",
        "who": ["boss"],
        "lines": "# 一\n二",
        "url": "https://tonglu.test/claims/d",
        "hash": "a1" * 32,
        "fixed": [1, None, True],
    }
    assert request.headers["authorization"] == httpx.BasicAuth("conn", "p")._auth_header


@respx.mock
async def test_a_document_without_a_template_is_refused_unsent(oa, command):
    trip = replace(command, template="trip")
    result = await oa.submit(trip)
    assert result.outcome is SubmitOutcome.REJECTED
    assert "no template for trip" in result.detail


@respx.mock
async def test_a_missing_secret_sends_nothing(command):
    secrets = {"user": "conn"}
    oa = HttpProfile(profile(), "http://oa.test", secrets.__getitem__, Limits(), Accounts())
    assert (await oa.submit(command)).outcome is SubmitOutcome.RETRY_LATER
    with pytest.raises(NotSentError, match="password"):
        await oa.fetch(InstanceId("7"))
    await oa.close()


@respx.mock
async def test_a_value_that_a_search_could_take_for_a_part_of_itself_is_refused(oa):
    with pytest.raises(OAError, match="cannot be sent") as caught:
        await oa.resolve("x' OR '1'='1")
    assert "business_key" in caught.value.told
    route = respx.get("http://oa.test/p/..%2Fadmin").respond(404, json={})
    assert (await oa.fetch(InstanceId("../admin"))).status is Status.VANISHED
    assert route.called


@respx.mock
async def test_a_text_that_no_header_can_hold_is_refused_unsent(command):
    port = adapter(create__call__headers={"X-Key": "${document_id}"})
    chinese = replace(command, document_id=DocumentId("单据"))
    result = await port.submit(chinese)
    assert (result.outcome, "ASCII" in result.detail) == (SubmitOutcome.REJECTED, True)
    await port.close()


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "bearer", "token": "password"}, "authorization", "Bearer p"),
        ({"kind": "headers", "headers": {"X-Key": "password"}, "prefix": "k "}, "x-key", "k p"),
    ],
)
@respx.mock
async def test_each_way_to_sign_in_reads_its_secret_at_each_call(auth, header, value):
    port = adapter(auth=auth)
    route = respx.get("http://oa.test/p/7").respond(404, json={})
    await port.fetch(InstanceId("7"))
    assert route.calls.last.request.headers[header] == value
    await port.close()


@given(st.text(), st.text())
def test_no_value_changes_the_shape_of_what_is_sent(first, second):
    tree = {"a": ["${x}", {"b": "${x} and ${y}", "c": "$$"}]}
    values = {"x": first, "y": second}
    whole = {"a": [first, {"b": f"{first} and {second}", "c": "$"}]}
    assert rendered(tree, values) == whole
    assert json.loads(rendered({"$json": tree}, values)) == whole


@respx.mock
async def test_a_field_of_a_form_may_hold_json(command):
    fields = {"who": "${approvers}", "hash": "${content_hash}"}
    form = {"key": "${business_key}", "values": {"$json": fields}}
    call = {"method": "POST", "path": "/start", "form": form}
    port = adapter(create={"call": call, "instance_id": "$.id"})
    route = respx.post("http://oa.test/start").respond(json={"id": 7})
    assert (await port.submit(command)).outcome is SubmitOutcome.ACCEPTED
    (sent,) = parse_qs(route.calls.last.request.content.decode())["values"]
    assert json.loads(sent) == {"who": ["boss"], "hash": "a1" * 32}
    await port.close()


def process(state: str, *steps: dict, approvers: int = 1) -> dict:
    return {
        "id": 7,
        "state": state,
        "hash": "h",
        "amount": "1,234.50",
        "changed": "2026-11-24 20:00:00",
        "approvers": ["x"] * approvers,
        "steps": [{"id": n, **one} for n, one in enumerate(steps)],
    }


def step(state: str, by: str = "boss", at: str = "2026-11-24 19:00") -> dict:
    return {"state": state, "who": "boss", "by": by, "at": at, "note": "好"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (process("running", step("wait")), Status.PENDING),
        (process("running", step("agree")), Status.APPROVED),
        (process("done", step("agree")), Status.APPROVED),
        (process("running", step("agree"), approvers=2), Status.PENDING),
        (process("done", step("agree"), step("wait"), approvers=2), Status.PENDING),
        (process("done", step("agree"), step("wait"), approvers=1), Status.PENDING),
        (process("done"), Status.PENDING),
        (process("done", approvers=0), Status.UNKNOWN),
        (process("running", step("refuse")), Status.REJECTED),
        (process("ended", step("agree"), step("refuse"), approvers=2), Status.REJECTED),
        (process("ended", step("refuse", by="conn")), Status.WITHDRAWN),
        (process("ended", step("back")), Status.RETURNED),
        (process("ended", step("agree")), Status.TERMINATED),
        (process("gone", step("agree")), Status.VANISHED),
        (process("approved!", step("agree")), Status.UNKNOWN),
        (process("done", step("maybe")), Status.UNKNOWN),
        (process("done", step("agree"), step("void")), Status.APPROVED),
    ],
)
@respx.mock
async def test_what_the_steps_say_is_the_status(oa, body, status):
    respx.get("http://oa.test/p/7").respond(json=body)
    assert (await oa.fetch(InstanceId("7"))).status is status


@respx.mock
async def test_a_process_is_read_where_it_stands_in_the_answer():
    """The same paths read it there and in a list, whatever stands around it."""
    port = adapter(fetch__at="$.data.proc", resolve__each="$.data.items[*]")
    body = process("running", step("agree"), step("wait"), approvers=2)
    respx.get("http://oa.test/p/7").respond(json={"code": 0, "data": {"proc": body}})
    seen = await port.fetch(InstanceId("7"))
    assert (seen.status, seen.content_hash, len(seen.steps)) == (Status.PENDING, "h", 1)
    respx.get("http://oa.test/find").respond(json={"data": {"items": [body | {"key": "d@1"}]}})
    (found,) = await port.resolve("d@1")
    assert (found.instance_id, found.content_hash) == ("7", "h")
    await port.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"code": 5000, "msg": "busy"}, r"fetch: at \(\$\.data\) finds nothing"),
        ({"data": None}, r"fetch: at \(\$\.data\) finds nothing"),
        ({"data": {"procId": 7}}, r"fetch: process\.instance_id \(\$\.id\) finds nothing"),
    ],
    ids=str,
)
@respx.mock
async def test_an_answer_without_a_process_is_no_process_in_an_unknown_state(body, said):
    port = adapter(fetch__at="$.data")
    respx.get("http://oa.test/p/7").respond(json=body)
    with pytest.raises(ContractError, match=said):
        await port.fetch(InstanceId("7"))
    for part in ({"id": 7}, {"state": "odd"}):  # it may leave out one of the two
        respx.get("http://oa.test/p/7").respond(json={"data": {**part, "approvers": ["x"]}})
        assert (await port.fetch(InstanceId("7"))).status is Status.UNKNOWN
    await port.close()


@given(
    st.sampled_from(Status),
    st.lists(st.sampled_from(["approve", "reject", "asked", "queued", "none", None])),
    st.integers(0, 5),
)
def test_nothing_is_approved_unless_every_expected_step_is(word, outcomes, expected):
    if decided(word, outcomes, expected) is Status.APPROVED:
        assert expected > 0
        assert outcomes.count("approve") >= expected
        assert set(outcomes) <= {"approve", "none"}
        assert word in {Status.PENDING, Status.APPROVED}


@respx.mock
async def test_a_process_is_read_whole(oa):
    body = process("running", step("agree"), step("wait"), approvers=2)
    respx.get("http://oa.test/p/7").respond(json=body, headers={"ETag": '"42"'})
    seen = await oa.fetch(InstanceId("7"))
    assert (seen.content_hash, seen.amount, seen.waiting) == ("h", Decimal("1234.50"), ("E1",))
    (one,) = seen.steps
    assert (one.decided_by, one.outcome, one.opinion) == ("E1", "approve", "好")
    assert one.decided_at == datetime(2026, 11, 24, 11, tzinfo=UTC)
    changed = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert seen.version == (int(changed.timestamp()) * 1_000_000, 42)


@respx.mock
async def test_decisions_stand_in_the_order_in_which_they_were_made(oa):
    """Two were asked at once: the OA lists them as it asked, and they decided otherwise."""
    asked = [step("agree", at="2026-11-24 20:00"), step("agree", by="zhou"), step("agree", by="wu")]
    body = process("running", *asked, approvers=3)
    respx.get("http://oa.test/p/7").respond(json=body)
    seen = await oa.fetch(InstanceId("7"))
    told = [(one.decided_by, one.step_id) for one in seen.steps]
    assert told == [("zhou", "1"), ("wu", "2"), ("E1", "0")]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (httpx.Response(401), NotTakenError),
        (httpx.Response(503, text=HTML), NotTakenError),
        (httpx.Response(429, json={}), NotTakenError),
        (httpx.Response(500, json={}), OAError),
        (httpx.Response(504, text=HTML), OAError),
        (httpx.ReadTimeout("slow"), OAError),
        (httpx.ConnectError("refused"), NotSentError),
    ],
    ids=repr,
)
@respx.mock
async def test_whether_a_note_may_stand_in_the_oa_is_told_from_its_answer(oa, reply, kind):
    respx.post("http://oa.test/p/7/note").mock(side_effect=[reply])
    with pytest.raises(OAError) as caught:
        await oa.comment(InstanceId("7"), "decided in Tonglu")
    assert type(caught.value) is kind


def people(reply: httpx.Response | Exception) -> HttpProfile:
    """The OA with a look-up of people that answers so; the first of the route is its `boss`."""
    respx.get("http://oa.test/people").mock(side_effect=[reply] * 9)
    call = {"method": "GET", "path": "/people", "params": {"q": "name=${person}"}}
    unknown = [{"path": "$.total", "matches": "^0$"}, {"path": "$.closed"}]
    return adapter(people={"call": call, "unknown_when": unknown})


GONE = [httpx.Response(200, json={"total": 0}), httpx.Response(200, json={"closed": "yes"})]


@pytest.mark.parametrize("reply", GONE)
@respx.mock
async def test_whoever_has_no_open_account_is_not_asked(command, reply):
    create = respx.post("http://oa.test/start/EXP")
    oa = people(reply)
    result = await oa.submit(command)
    await oa.close()
    assert result.outcome is SubmitOutcome.REJECTED
    assert result.detail.startswith("no open account in the OA: boss")
    assert not create.called


@pytest.mark.parametrize("reply", GONE)
@respx.mock
async def test_whoever_has_lost_the_account_is_missing_while_asked(reply):
    oa = people(reply)
    body = process("running", step("agree", by="wu"), step("wait"), approvers=2)
    respx.get("http://oa.test/p/7").respond(json=body)
    seen = await oa.fetch(InstanceId("7"))
    await oa.close()
    assert (seen.waiting, seen.missing) == (("E1",), ("E1",))


@pytest.mark.parametrize("reply", [httpx.ReadTimeout("slow"), httpx.Response(401)], ids=repr)
@respx.mock
async def test_a_process_is_read_though_the_oa_does_not_say_who_has_an_account(reply):
    oa = people(reply)
    respx.get("http://oa.test/p/7").respond(json=process("running", step("wait")))
    seen = await oa.fetch(InstanceId("7"))
    await oa.close()
    assert (seen.status, seen.waiting, seen.missing) == (Status.PENDING, ("E1",), ())
    assert not oa.refuses_us


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(403, json={"message": "no"}),
        httpx.Response(404, text=HTML),
        httpx.Response(200, text=HTML),
        httpx.Response(200, json={"total": 1}),
    ],
)
@respx.mock
async def test_only_an_answer_that_says_so_keeps_anybody_from_being_asked(command, reply):
    respx.post("http://oa.test/start/EXP").respond(json={"id": 7})
    oa = people(reply)
    assert (await oa.submit(command)).outcome is SubmitOutcome.ACCEPTED
    await oa.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.Response(200, text=HTML), OAError),
        (httpx.Response(404, text=HTML), OAError),
        (httpx.Response(204), OAError),
        (httpx.Response(206, json={}), ContractError),
        (httpx.Response(200, json=process("done", {"state": "agree"})), ContractError),
        (httpx.Response(200, json=process("done", step("agree") | {"at": "noon"})), ContractError),
        (httpx.ReadTimeout("slow"), OAError),
    ],
)
@respx.mock
async def test_an_answer_that_cannot_be_read_is_an_error_and_no_status(oa, reply, error):
    respx.get("http://oa.test/p/7").mock(side_effect=[reply])
    with pytest.raises(error):
        await oa.fetch(InstanceId("7"))


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
@respx.mock
async def test_an_error_of_http_is_trouble_and_no_changed_contract(oa, status):
    respx.get("http://oa.test/p/7").respond(status, json={"message": "no"})
    with pytest.raises(OAError) as caught:
        await oa.fetch(InstanceId("7"))
    assert not isinstance(caught.value, ContractError)


def listed(n: int, **more: object) -> dict:
    return {"id": n, "state": "running", "key": "d@1", **more}


@respx.mock
async def test_what_a_search_shows_of_other_documents_is_not_ours(oa):
    """An OA that searches by a part of the key, or does not know the name of the parameter."""
    items = [listed(1, key="d@10"), listed(2), listed(3, key="D@1")]
    respx.get("http://oa.test/find").respond(json={"items": items[:1]})
    assert await oa.resolve("d@1") == []
    port = adapter(resolve__page_size=9)
    respx.get("http://oa.test/find").respond(json={"items": items})
    assert [one.instance_id for one in await port.resolve("d@1")] == ["2"]
    await port.close()


@respx.mock
async def test_a_search_that_shows_no_key_says_nothing(oa):
    """What it found may be ours or not: it is neither ended nor taken for nothing."""
    respx.get("http://oa.test/find").respond(json={"items": [listed(1, key=None)]})
    with pytest.raises(ContractError, match=r"resolve: process\.business_key \(\$\.key\) finds no"):
        await oa.resolve("d@1")


@pytest.mark.parametrize(
    "body",
    [{"code": 5000, "msg": "busy"}, {"items": None}, {}, [], {"items": {}}, {"items": ""}],
    ids=str,
)
@respx.mock
async def test_an_answer_without_the_list_does_not_say_that_there_is_nothing(oa, body):
    respx.get("http://oa.test/find").respond(json=body)
    respx.get("http://oa.test/changed").respond(json=body)
    for ask in (oa.resolve("d@1"), oa.scan(Sight.POLL_CHANGED_SINCE, WINDOW)):
        with pytest.raises(ContractError, match="without the list of processes"):
            await ask
    respx.get("http://oa.test/find").respond(json={"items": []})
    assert await oa.resolve("d@1") == []


@pytest.mark.parametrize(
    ("each", "body", "found"),
    [
        ("$[*]", [], []),
        ("$.data.list[?@.kind=='EXP']", {"data": {"list": [{"kind": "LEAVE"}]}}, []),
        ("$.data['list'][*]", {"data": {"list": []}}, []),
        ("$[\"it's\"][?@.b=='\"'].list[*]", {"it's": [{"b": '"', "list": []}]}, []),
        ("$..list[*]", {"data": [{"list": []}]}, []),
        ("$.found", {"found": listed(7)}, ["7"]),
        ("$.found[*]", {"found": {"7": listed(7)}}, ["7"]),
    ],
)
@respx.mock
async def test_a_list_that_is_there_may_be_empty(each, body, found):
    port = adapter(resolve__each=each)
    respx.get("http://oa.test/find").respond(json=body)
    assert [one.instance_id for one in await port.resolve("d@1")] == found
    await port.close()


@respx.mock
async def test_an_oa_that_leaves_an_empty_list_out_says_so_by_what_its_profile_names(oa):
    port = adapter(resolve__none_when=[{"path": "$.code", "matches": "^0$"}])
    route = respx.get("http://oa.test/find").respond(json={"code": 0, "items": None})
    assert await port.resolve("d@1") == []
    route.respond(json={"code": 0, "items": [listed(7)]})
    assert len(await port.resolve("d@1")) == 1
    route.respond(json={"code": 5000, "items": None})
    with pytest.raises(ContractError):
        await port.resolve("d@1")
    await port.close()


@respx.mock
async def test_a_list_of_something_else_is_named_by_call_field_and_path(oa):
    respx.get("http://oa.test/find").respond(json={"items": [{"procId": 7}]})
    with pytest.raises(ContractError, match=r"resolve: process\.instance_id \(\$\.id\) finds noth"):
        await oa.resolve("d@1")


@respx.mock
async def test_a_full_page_without_a_next_one_may_hide_others(oa):
    items = [listed(n) for n in range(2)]
    respx.get("http://oa.test/find").respond(json={"items": items})
    with pytest.raises(ContractError, match="there may be more"):
        await oa.resolve("d@1")


@respx.mock
async def test_a_scan_goes_from_page_to_page_in_the_oas_own_time(oa):
    pages = {"0": [1, 2], "2": [3]}
    respx.get("http://oa.test/changed").mock(
        side_effect=lambda request: httpx.Response(
            200,
            json={
                "items": [{"id": n, "state": "running"} for n in pages[request.url.params["after"]]]
            },
        )
    )
    first = await oa.scan(Sight.POLL_CHANGED_SINCE, WINDOW)
    assert ([one.instance_id for one in first.instances], first.next) == (["1", "2"], "2")
    last = await oa.scan(Sight.POLL_CHANGED_SINCE, WINDOW, first.next)
    assert ([one.instance_id for one in last.instances], last.next) == (["3"], None)
    assert respx.calls.last.request.url.params["from"] == "2026-11-24 20:00"
    with pytest.raises(OAError, match="no scan"):
        await oa.scan(Sight.POLL_CREATED_SINCE, WINDOW)


@respx.mock
async def test_a_withdrawal_follows_what_the_oa_shows_not_what_it_answers(oa):
    respx.post("http://oa.test/p/7/end").respond(200, json=["unresolved dependencies"])
    respx.get("http://oa.test/p/7").respond(json=process("running", step("agree")))
    assert (await oa.withdraw(InstanceId("7"), "why")).status is Status.APPROVED


@pytest.mark.parametrize(
    ("version", "is_degraded"),
    [("5.0.3+dfsg", False), ("v5.0", False), ("5.1", True), ("4.9", True), ("new", True)],
)
@respx.mock
async def test_only_a_known_version_is_not_degraded(oa, version, is_degraded):
    respx.get("http://oa.test/version").respond(json={"version": version})
    report = await oa.probe()
    assert (report.version, report.is_degraded) == (version, is_degraded)


async def test_capabilities_are_what_the_profile_holds(oa):
    able = oa.capabilities
    assert able.idempotency is Idempotency.SEARCHABLE
    assert able.sights == {Sight.PUSH, Sight.POLL_ONE, Sight.POLL_CHANGED_SINCE}
    assert (able.withdraw, able.comment, able.push_signed) == (Ability.API, Ability.API, True)
    bare = adapter(withdraw=None, comment=None, callback=None, withdraw_by="manual")
    able = bare.capabilities
    assert (able.withdraw, able.comment, able.push_signed) == (Ability.MANUAL, Ability.NONE, False)
    await bare.close()


def signed(secret: str, body: bytes = b'{"id": 7}', at: datetime = NOW) -> dict[str, str]:
    time = str(int(at.timestamp()))
    mark = hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Sig": f"sha256={mark}", "X-Time": time, "X-Id": "n1"}


@pytest.mark.parametrize("secret", ["now", "before"])
def test_a_callback_under_the_secret_or_the_one_before_is_taken(secret):
    (hint,) = callbacks(profile(), SECRETS.__getitem__).open(signed(secret), b'{"id": 7}', NOW)
    assert (hint.instance_id, hint.delivery_id) == ("7", "n1")


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        ({}, b'{"id": 7}', CallbackRefusedError),
        (signed("other"), b'{"id": 7}', CallbackRefusedError),
        (signed(""), b'{"id": 7}', CallbackRefusedError),
        (signed("now"), b'{"id": 8}', CallbackRefusedError),
        (signed("now") | {"X-Sig": "sha256=é"}, b'{"id": 7}', CallbackRefusedError),
        (signed("now") | {"X-Time": "²"}, b'{"id": 7}', CallbackRefusedError),
        (signed("now", at=NOW - timedelta(minutes=6)), b'{"id": 7}', CallbackRefusedError),
        (signed("now", at=NOW + timedelta(minutes=6)), b'{"id": 7}', CallbackRefusedError),
        (signed("now", b"{"), b"{", CallbackMalformedError),
        (signed("now", b"\xff"), b"\xff", CallbackMalformedError),
        (signed("now", b"{}"), b"{}", CallbackMalformedError),
        (signed("now") | {"X-Id": ""}, b'{"id": 7}', CallbackMalformedError),
        (signed("now") | {"X-Id": "x" * 201}, b'{"id": 7}', CallbackMalformedError),
    ],
)
def test_a_callback_that_is_not_proven_or_readable_does_not_count(headers, body, error):
    with pytest.raises(error):
        callbacks(profile(), SECRETS.__getitem__).open(headers, body, NOW)


def test_without_any_secret_no_callback_is_taken():
    for secrets in ({}, {"callback": ""}):
        with pytest.raises(CallbackRefusedError):
            callbacks(profile(), secrets.__getitem__).open(signed(""), b'{"id": 7}', NOW)


@pytest.mark.parametrize(
    ("verify", "right", "wrong"),
    [
        ({"kind": "token", "header": "X-Token", "secrets": ["callback"]}, "now", "before"),
        (
            {"kind": "mtls", "header": "X-Cert", "fingerprints": ["callback"]},
            "N:O:W",
            "no",
        ),
    ],
)
def test_a_token_or_a_certificate_proves_a_callback(verify, right, wrong):
    port = callbacks(profile(callback__verify=verify), SECRETS.__getitem__)
    name = verify["header"].lower()
    (first,) = port.open({name: right, "X-Id": "n1"}, b'{"id": 7}', NOW)
    (second,) = port.open({name: right, "X-Id": "n2"}, b'{"id": 7}', NOW)
    assert first.signature != second.signature
    for given_one in (wrong, ""):
        with pytest.raises(CallbackRefusedError):
            port.open({name: given_one, "X-Id": "n1"}, b'{"id": 7}', NOW)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"extra": 1}, "extra: unknown here; known: name, account, clock, "),
        (
            {"create__call__json": None, "create__call__body_json": {}},
            "retry_when, method, path, params, headers, json, form, body",
        ),
        ({"resolve__until": "$"}, "resolve.until: unknown here; known: call, each, first, next,"),
        (
            {"create__call__refused_when": [{"state": 1}]},
            "create.call.refused_when.0.state: unknown here; known: status, path, matches",
        ),
        (
            {"auth__user": "x"},
            "auth.basic.user: unknown here; known: kind, username, password",
        ),
        ({"process__status": None}, "process.status: is needed"),
        ({"process__content_hash": None}, "process.content_hash: is needed"),
        ({"process__business_key": None}, "process.business_key is needed: what resolve finds"),
        ({"resolve__call__params": {"q": "d@1"}}, "resolve: ${business_key} is needed"),
        ({"create__call__json": {"hash": "${content_hash}"}}, "create: ${business_key} is needed"),
        ({"create__call__json": {"key": "${business_key}"}}, "create: ${content_hash} is needed"),
        ({"fetch__at": "data"}, "fetch.at: 'data' is no JSONPath"),
        ({"statuses": {"done": "approved"}}, "statuses: none of them means pending"),
        ({"steps__words": {"wait": "asked"}}, "steps.words: none of them means approve"),
        ({"clock__format": "yyyy-MM-dd"}, "clock.format: 'yyyy-MM-dd' holds no time"),
        ({"create__call__path": "start"}, "create.call.path: String should match"),
        ({"process__status": "state"}, "'state' is no JSONPath"),
        ({"fetch__call__path": "/p/${nobody}"}, "fetch: unknown placeholder nobody; known: inst"),
        (
            {"fetch__call__path": "/p/$1"},
            "fetch: a $ that begins no placeholder in '/p/$1'; write $$",
        ),
        ({"statuses": {"done": "yes"}}, "statuses.done: Input should be"),
        ({"steps__words": {"yes": "agreed"}}, "steps.words.yes: Input should be"),
        ({"steps__expected": None}, "decides needs expected"),
        ({"steps__decided_by": None}, "decided_by is needed"),
        ({"steps": None}, "steps is needed"),
        ({"resolve": None}, "idempotency searchable needs resolve"),
        ({"resolve": None, "idempotency": "upsert"}, "idempotency upsert needs resolve"),
        ({"resolve": None, "idempotency": "server_key"}, "idempotency server_key needs resolve"),
        ({"clock__zone": "Mars/Base"}, "clock.zone"),
        (
            {"clock": {"zone": "Asia/Shanghai"}},
            "clock: format '%Y-%m-%dT%H:%M:%SZ' says Z",
        ),
        ({"clock": {"zone": "Europe/London", "format": "%H:%MZ"}}, "or set the zone UTC"),
        ({"probe__known__below": "4"}, "at_least must be a lower version"),
        ({"create__call__refused_when": [{}]}, "give status, path or both"),
        ({"create__call__refused_when": [{"path": "$", "matches": "("}]}, "no regular expression"),
        ({"callback__verify__signed": "${body}"}, "signed must hold"),
        (
            {
                "people": {
                    "call": {"method": "GET", "path": "/p/${who}"},
                    "unknown_when": [{"path": "$"}],
                }
            },
            "people: unknown placeholder who; known: person",
        ),
        ({"auth__kind": "magic"}, "auth: Input tag 'magic'"),
    ],
)
def test_a_mistake_in_a_profile_is_named_by_file_field_and_rule(tmp_path: Path, changes, said):
    file = tmp_path / "oa.yaml"
    file.write_text(yaml.safe_dump(changed(changes), allow_unicode=True))
    with pytest.raises(ProfileError) as caught:
        load_profile(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once_and_none_that_only_follows_from_another(tmp_path: Path):
    file = tmp_path / "oa.yaml"

    def told(**changes: object) -> list[str]:
        file.write_text(yaml.safe_dump(changed(changes)))
        with pytest.raises(ProfileError) as caught:
            load_profile(file)
        return str(caught.value).splitlines()

    signs = {"people__unknown_when": [{"pat": "$.total"}], "create__call__accepted_when": [{}]}
    wrong = told(people={"call": {"method": "GET", "path": "/p"}}, **signs, name="")
    assert [one.split(": ")[1] for one in wrong] == [
        *("name", "create.call.accepted_when.0", "people.unknown_when.0.pat"),
    ]
    both = told(process__business_key=None, create__call__json=None, steps=None)
    assert [one.removeprefix(f"{file}: ").split()[0] for one in both] == [
        *("create:", "create:", "process.business_key", "steps"),
    ]


def test_an_oa_that_cannot_be_searched_needs_no_key(tmp_path: Path):
    changes = {"process__business_key": None, "resolve": None, "idempotency": "none"}
    assert profile(**changes, create__call__json={"hash": "${content_hash}"}).resolve is None


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.system ['true']", "", "\x00"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text):
    file = tmp_path / "oa.yaml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=str(file)):
        load_profile(file)
    with pytest.raises(ProfileError):
        load_profile(tmp_path / "nowhere.yaml")


def test_a_profile_without_callbacks_cannot_take_any():
    with pytest.raises(ProfileError, match="callback is needed"):
        callbacks(profile(callback=None), SECRETS.__getitem__)


@pytest.mark.parametrize("error", [KeyError("user"), ValueError("empty"), PermissionError("user")])
@respx.mock
async def test_while_our_own_account_cannot_be_read_no_step_is_taken_for_a_decision(error):
    """One OA's missing file ends neither the start nor the work of the others."""

    def secrets(name: str) -> str:
        if name == "who":
            raise error
        return SECRETS[name]

    oa = HttpProfile(profile(account="who"), "http://oa.test", secrets, Limits(), Accounts())
    respx.get("http://oa.test/p/7").respond(json=process("running", step("agree")))
    with pytest.raises(NotSentError, match="a secret cannot be read"):
        await oa.fetch(InstanceId("7"))
    await oa.close()


@pytest.mark.parametrize(
    ("clock", "written"),
    [
        ({"zone": "Asia/Shanghai", "format": "%Y-%m-%dT%H:%M:%S%z"}, "2026-11-24T20:00:00+0800"),
        ({"zone": "Etc/UTC"}, "2026-11-24T12:00:00Z"),
        ({"zone": "Asia/Shanghai", "format": "%H:%M %Z"}, "20:00 CST"),
    ],
    ids=str,
)
@respx.mock
async def test_a_window_is_asked_for_in_the_time_that_the_oa_understands(clock, written):
    oa = adapter(clock=clock)
    respx.get("http://oa.test/changed").respond(json={"items": []})
    await oa.scan(Sight.POLL_CHANGED_SINCE, WINDOW)
    assert respx.calls.last.request.url.params["from"] == written
    await oa.close()


def test_an_answer_is_quoted_short():
    assert len(str(Reply(200, None, "x" * 10_000))) < 200


@pytest.mark.parametrize(
    ("path", "body", "is_there"),
    [
        ("$.items[*]", {"items": []}, True),
        ("$.hits.hits[*]._source", {"hits": {"hits": []}}, True),
        ("$.pages[*].rows[*]", {"pages": []}, True),
        ("$.items[?@.kind == 'claim']", {"items": []}, True),
        ("$.rows[0:50]", {"rows": []}, True),
        ("$.items[*]", {"items": None}, False),
        ("$.items[*].ticket", {"code": 5000, "msg": "busy"}, False),
        ("$.items[*]", [], False),
        ("$.items[*]", None, False),
    ],
    ids=str,
)
def test_an_empty_list_is_told_from_none_wherever_its_items_stand(path, body, is_there):
    assert has_list(path, body) is is_there
