"""Tenants as JSON, secrets in files that may change."""

import json

import pytest
from oa_connector.app import _adapter, service
from oa_connector.settings import FlowableTenant, Settings
from pydantic import ValidationError

TENANT = {
    "kind": "flowable",
    "base_url": "http://oa.test",
    "username": "oa-admin",
    "secrets": {"password": "secret", "callback": "hook"},
}


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nowhere")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "nowhere:9092")
    monkeypatch.setenv("OIDC_ISSUER", "http://issuer.test")
    return monkeypatch


def test_tenants_are_read_from_json(environment):
    environment.setenv("TENANTS", json.dumps({"flowable": TENANT}))
    tenant = Settings.load().tenants["flowable"]
    assert (tenant.secret("password"), tenant.processes["claim"]) == ("secret", "tonglu-approval")


def test_a_secret_in_a_file_is_read_at_each_use(tmp_path):
    file = tmp_path / "hook"
    file.write_text("first\n")
    given = {"secrets": {"password": "secret"}, "secret_files": {"callback": file}}
    tenant = FlowableTenant(**TENANT | given)
    assert tenant.secret("callback") == "first"
    file.write_text("second\n")
    assert tenant.secret("callback") == "second"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secrets": {"callback": "hook"}}, "password is missing"),
        ({"secret_files": {"password": "/etc/secret"}}, "password: give the secret or its file"),
        ({"secrets": {"Pass word": "x"}}, "Pass word"),
    ],
    ids=["missing", "twice", "no name"],
)
def test_each_secret_is_given_exactly_once_under_its_name(change, said):
    with pytest.raises(ValidationError, match=said):
        FlowableTenant(**TENANT | change)


def test_an_empty_or_absent_secret_is_never_used(tmp_path):
    files = {"callback": tmp_path / "hook", "callback_previous": tmp_path / "gone"}
    files["callback"].write_text("\n")
    tenant = FlowableTenant(**TENANT | {"secrets": {"password": "x"}, "secret_files": files})
    with pytest.raises(ValueError, match="callback is empty"):
        tenant.secret("callback")
    with pytest.raises(KeyError):
        tenant.secret("callback_previous")


def test_a_lease_that_could_run_out_under_a_call_is_refused(environment):
    environment.setenv("LEASE_SECONDS", "20")
    with pytest.raises(ValidationError, match="twice call_seconds"):
        Settings.load()


def test_an_address_that_no_call_can_reach_is_refused(environment):
    environment.setenv("TENANTS", json.dumps({"oa": TENANT | {"base_url": "oa.example.com"}}))
    with pytest.raises(ValidationError, match="base_url"):
        Settings.load()


def test_a_pace_at_which_a_row_could_not_be_worked_on_within_its_lease_is_refused(environment):
    environment.setenv("TENANTS", json.dumps({"slow": TENANT | {"calls_per_second": 0.4}}))
    with pytest.raises(
        ValidationError,
        match=r"slow: calls_per_second must be at least 1\.4, or lease_seconds 149:",
    ):
        Settings.load()
    environment.setenv("LEASE_SECONDS", "149")
    assert Settings.load().tenants["slow"].calls_per_second == 0.4


@pytest.mark.parametrize(
    ("told", "burst"),
    [({}, 50), ({"calls_per_second": 2}, 2), ({"calls_per_second": 0.2}, 1), ({"burst": 9}, 9)],
    ids=str,
)
async def test_after_a_rest_an_oa_is_called_as_often_as_in_one_second_unless_it_says_so(
    told, burst
):
    oa, _ = _adapter(FlowableTenant(**TENANT | told), "")
    assert oa.capabilities.burst == burst
    assert oa.capabilities.calls_per_minute == told.get("calls_per_second", 50) * 60
    await oa.close()


async def test_the_service_is_composed_from_its_settings(environment):
    environment.setenv("TENANTS", json.dumps({"flowable": TENANT}))
    composed = service()
    assert {path.suffix for path in composed.migrations.iterdir()} == {".sql"}
    assert [loop.__name__ for loop in composed.loops] == ["deliver"]


@pytest.mark.parametrize(
    ("kind", "profile"), [("http_profile", "rt5.yaml"), ("soap_profile", "workflow-soap.yaml")]
)
async def test_an_oa_that_a_profile_describes_needs_no_code(environment, kind, profile):
    secrets = {"username": "conn", "password": "x", "callback": "hook"}
    tenant = {"kind": kind, "base_url": "http://oa.test", "profile": profile, "secrets": secrets}
    environment.setenv("TENANTS", json.dumps({"one": tenant, "two": {**tenant, "burst": 2}}))
    assert len(service().routers) == 2
