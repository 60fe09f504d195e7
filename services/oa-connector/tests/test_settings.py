"""Tenants as JSON, secrets in files that may change."""

import json

import pytest
from oa_connector.app import service
from oa_connector.settings import FlowableTenant, Settings
from pydantic import ValidationError

TENANT = {
    "kind": "flowable",
    "base_url": "http://oa.test",
    "username": "oa-admin",
    "password": "secret",
    "callback_secret": "hook",
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
    assert (tenant.read_password(), tenant.process_key) == ("secret", "tonglu-approval")


def test_a_secret_in_a_file_is_read_at_each_use(tmp_path):
    file = tmp_path / "hook"
    file.write_text("first\n")
    tenant = FlowableTenant(**{**TENANT, "callback_secret": None}, callback_secret_file=file)
    assert tenant.read_callback_secret() == "first"
    file.write_text("second\n")
    assert tenant.read_callback_secret() == "second"


@pytest.mark.parametrize("change", [{"password": None}, {"password_file": "/etc/secret"}])
def test_each_secret_is_given_exactly_once(change):
    with pytest.raises(ValidationError, match="either password or password_file"):
        FlowableTenant(**{**TENANT, **change})


def test_an_empty_secret_is_refused():
    with pytest.raises(ValidationError, match="callback_secret"):
        FlowableTenant(**{**TENANT, "callback_secret": ""})


def test_a_lease_that_could_run_out_under_a_call_is_refused(environment):
    environment.setenv("LEASE_SECONDS", "20")
    with pytest.raises(ValidationError, match="twice call_seconds"):
        Settings.load()


async def test_the_service_is_composed_from_its_settings(environment):
    environment.setenv("TENANTS", json.dumps({"flowable": TENANT}))
    composed = service()
    assert [path.suffix for path in composed.migrations.iterdir()] == [".sql"]
    assert [loop.__name__ for loop in composed.loops] == ["deliver"]
