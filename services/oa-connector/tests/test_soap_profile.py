"""The SOAP adapter against odd answers; a real server is in tests/conformance."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
import respx
import yaml
from events import ContentHash, DocumentId, EmployeeId, InstanceId
from lxml import etree
from oa_connector import profiles
from oa_connector.domain import Accounts, Form, SubmitApproval, SubmitOutcome
from oa_connector.vendors import OAError
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.profile import ProfileError, Sign
from oa_connector.vendors.soap_profile import Profile, SoapProfile, load_profile

FOLDER = Path(profiles.__path__[0])
URL = "http://oa.test/soap"
WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"

GIVEN = '{"code": 0, "data": {"requestId": "7"}}'


def envelope(inner: str) -> str:
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        f"{inner}</s:Body></s:Envelope>"
    )


def fault(code: str) -> str:
    return envelope(f"<s:Fault><faultcode>{code}</faultcode><faultstring>x</faultstring></s:Fault>")


def created(answer: str) -> str:
    name = "doCreateWorkflowRequest"
    return envelope(
        f'<{name}Response xmlns="urn:example:workflow">'
        f"<{name}Result>{answer}</{name}Result></{name}Response>"
    )


@pytest.fixture
def secrets() -> dict[str, str]:
    return {"username": "tonglu", "password": "first"}


@pytest.fixture
async def oa(secrets):
    port = adapter(load_profile(FOLDER / "workflow-soap.yaml"), secrets)
    yield port
    await port.close()


def adapter(profile: Profile, secrets: dict[str, str]) -> SoapProfile:
    limits = Limits(failures=99)
    return SoapProfile(profile, "http://oa.test", secrets.__getitem__, limits, Accounts())


def command(title: str = "上海") -> SubmitApproval:
    return SubmitApproval(
        business_key="d@1",
        document_id=DocumentId("d"),
        template="claim",
        content_hash=ContentHash("ab" * 32),
        form=Form(title, "1488.00", "CNY", EmployeeId("lin"), ((1, EmployeeId("chen")),), ("一",)),
    )


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (httpx.Response(200, text=created(GIVEN)), "ACCEPTED"),
        (httpx.Response(200, text=created('{"code": 1, "data": {"requestId": "7"}}')), "UNKNOWN"),
        (httpx.Response(200, text=created('{"code": 0, "data": {}}')), "UNKNOWN"),
        (httpx.Response(200, text=created("")), "UNKNOWN"),
        (httpx.Response(200, text=created("[" * 50_000)), "UNKNOWN"),
        (httpx.Response(200, text="<html><body>login</body></html>"), "UNKNOWN"),
        (httpx.Response(200, content=b"\xff\xfe"), "UNKNOWN"),
        (httpx.Response(200), "UNKNOWN"),
        (httpx.Response(202), "UNKNOWN"),
        (httpx.Response(200, text=created(GIVEN)[:-5]), "UNKNOWN"),
        (httpx.Response(200, text=created(GIVEN).replace("doCreate", "doDelete")), "UNKNOWN"),
        (httpx.Response(200, text=created(GIVEN).replace("Body", "Boddy")), "UNKNOWN"),
        (httpx.Response(200, text=envelope("")), "UNKNOWN"),
        (httpx.Response(200, text=envelope("words")), "UNKNOWN"),
        (httpx.Response(200, text=envelope("<x/><y/>")), "UNKNOWN"),
        (httpx.Response(500, text=created(GIVEN)), "UNKNOWN"),
        (httpx.Response(404, text=fault("Client.Refused")), "REJECTED"),
        (httpx.Response(500, text=fault("Client.Refused")), "REJECTED"),
        (httpx.Response(500, text=fault("Client.Unauthenticated")), "RETRY_LATER"),
        (httpx.Response(500, text=fault("Server.Busy")), "RETRY_LATER"),
        (httpx.Response(500, text=fault("Server")), "UNKNOWN"),
        (httpx.Response(429, text="<html></html>"), "RETRY_LATER"),
        (httpx.Response(502, text="<html></html>"), "UNKNOWN"),
        (httpx.ConnectError("refused"), "RETRY_LATER"),
        (httpx.ReadTimeout("slow"), "UNKNOWN"),
    ],
)
@respx.mock
async def test_each_answer_to_a_create_means_no_more_than_it_says(oa, reply, outcome):
    respx.post(URL).mock(
        **({"side_effect": reply} if isinstance(reply, Exception) else {"return_value": reply})
    )
    assert (await oa.submit(command())).outcome is SubmitOutcome(outcome)


def found(inner: str) -> str:
    return envelope(f'<findByKeyResponse xmlns="urn:example:workflow">{inner}</findByKeyResponse>')


NIL = '<findByKeyResult xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'
BUSY = "<findByKeyResult/><code>5000</code>"


@respx.mock
async def test_an_empty_list_is_none_and_a_list_that_is_not_there_is_no_answer(oa):
    """To zeep they are the same; an OA that fails inside often returns null."""
    route = respx.post(URL).respond(200, text=found("<findByKeyResult/>"))
    assert await oa.resolve("d@1") == []
    for inner in ("", NIL, BUSY, "<code>5000</code><msg>busy</msg>"):
        route.respond(200, text=found(inner))
        with pytest.raises(OAError):
            await oa.resolve("d@1")


@respx.mock
async def test_an_oa_that_returns_null_for_an_empty_list_says_so_in_its_profile(secrets):
    profile = load_profile(FOLDER / "workflow-soap.yaml")
    says = profile.resolve.model_copy(update={"none_when": (Sign(status=(200,)),)})
    port = adapter(profile.model_copy(update={"resolve": says}), secrets)
    respx.post(URL).respond(200, text=found(NIL))
    assert await port.resolve("d@1") == []
    await port.close()


@respx.mock
async def test_null_is_no_json(secrets):
    profile = load_profile(FOLDER / "workflow-soap.yaml")
    call = profile.resolve.call.model_copy(update={"parse": "json"})
    listing = profile.resolve.model_copy(update={"call": call})
    port = adapter(profile.model_copy(update={"resolve": listing}), secrets)
    for inner in ("", "<findByKeyResult/>"):
        respx.post(URL).respond(200, text=found(inner))
        with pytest.raises(OAError):
            await port.resolve("d@1")
    await port.close()


@respx.mock
async def test_an_entity_in_an_answer_is_not_followed(oa):
    bomb = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    answer = bomb + created('{"code": 0, "data": {"requestId": "&e;"}}')
    respx.post(URL).respond(200, text=answer)
    assert (await oa.submit(command())).outcome is SubmitOutcome.UNKNOWN


@respx.mock
async def test_every_call_is_signed_anew_and_with_the_secret_of_the_moment(oa, secrets):
    route = respx.post(URL).respond(500, text=fault("Server"))
    for password in ("first", "first", "second"):
        secrets["password"] = password
        with pytest.raises(OAError):
            await oa.fetch(InstanceId("1"))
    tokens = [etree.fromstring(call.request.content) for call in route.calls]
    nonces = {one.findtext(f".//{WSSE}Nonce") for one in tokens}
    digests = {one.findtext(f".//{WSSE}Password") for one in tokens}
    assert (len(nonces), len(digests)) == (3, 3)
    assert not any(b"first" in call.request.content for call in route.calls)


@respx.mock
async def test_what_xml_cannot_hold_is_refused_before_it_is_sent(oa):
    route = respx.post(URL).respond(200)
    assert (await oa.submit(command("a\x00b"))).outcome is SubmitOutcome.REJECTED
    assert not route.called


@respx.mock
async def test_an_argument_that_is_json_keeps_its_shape_whatever_people_write(secrets):
    profile = load_profile(FOLDER / "workflow-soap.yaml")
    request = {"title": {"$json": {"fdTitle": "${title}", "rows": "${details}"}}}
    call = profile.create.call.model_copy(update={"arguments": {"request": request}})
    create = profile.create.model_copy(update={"call": call})
    port = adapter(profile.model_copy(update={"create": create}), secrets)
    route = respx.post(URL).respond(200, text=created(GIVEN))
    title = '", "fdPaid": "yes\\"}]]><x/>${amount}'
    assert (await port.submit(command(title))).outcome is SubmitOutcome.ACCEPTED
    sent = etree.fromstring(route.calls.last.request.content).findtext(".//{*}title")
    assert json.loads(sent) == {"fdTitle": title, "rows": ["一"]}
    await port.close()


@respx.mock
async def test_without_a_secret_nothing_is_sent(oa, secrets):
    route = respx.post(URL).respond(200)
    del secrets["password"]
    assert (await oa.submit(command())).outcome is SubmitOutcome.RETRY_LATER
    assert not route.called


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wsdl": "absent.wsdl"}, "absent.wsdl"),
        ({"probe": {"call": {"operation": "nothing"}, "version": "$",
                    "known": {"at_least": "1", "below": "2"}}}, "no operation nothing"),
        ({"comment": {"operation": "addRemark", "arguments": {"words": "${text}"}}}, "words"),
        ({"withdraw": [{"call": {"operation": "withdrawRequest",
                                 "arguments": {"requestId": {"id": "1"}}}}]}, "withdraw"),
    ],
    ids=["no file", "no operation", "no argument", "a list for one value"],
)  # fmt: skip
async def test_a_profile_that_does_not_fit_its_wsdl_is_named(tmp_path, secrets, change, said):
    shutil.copy(FOLDER / "workflow-soap.wsdl", tmp_path)
    content = yaml.safe_load((FOLDER / "workflow-soap.yaml").read_text()) | change
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content))
    profile = load_profile(tmp_path / "p.yaml")
    with pytest.raises(ProfileError, match=said):
        SoapProfile(profile, "http://oa.test", secrets.__getitem__, Limits(), Accounts())


async def test_a_wsdl_that_points_elsewhere_is_never_loaded_from_there(tmp_path, secrets):
    wsdl = (FOLDER / "workflow-soap.wsdl").read_text()
    elsewhere = '<xs:import namespace="urn:x" schemaLocation="http://oa.test/x.xsd"/>'
    head, found, tail = wsdl.partition('elementFormDefault="qualified">')
    assert found
    (tmp_path / "workflow-soap.wsdl").write_text(head + found + elsewhere + tail)
    shutil.copy(FOLDER / "workflow-soap.yaml", tmp_path)
    profile = load_profile(tmp_path / "workflow-soap.yaml")
    with pytest.raises(ProfileError, match="not beside the profile"):
        SoapProfile(profile, "http://oa.test", secrets.__getitem__, Limits(), Accounts())
