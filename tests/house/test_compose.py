"""The compose file tells the programs what they know, and waits for what they need."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tonglu import company, demo, topology

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose.yaml"
ADDRESSES = {
    "POSTGRES_DSN": "postgresql://postgres@postgres:5432/postgres",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "OIDC_ISSUER": "http://identity.localhost:9000",
    "FLOWABLE_URL": "http://flowable:8080",
}


@pytest.fixture
def compose():
    return yaml.safe_load(COMPOSE.read_text())["services"]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The processes that `make demo` would start, were its servers at those addresses."""
    stack, people = topology.open_stack(tmp_path_factory.mktemp("stack"))
    found = [*topology.services(stack, people)(ADDRESSES), demo._finance(stack, people, ADDRESSES)]
    return {process.name: process for process in found}


def unknown_settings(service: str, environment: dict[str, str]) -> Iterator[str]:
    """A variable that no setting reads is a setting misspelt."""
    fields = importlib.import_module(f"{service.replace('-', '_')}.settings").Settings.model_fields
    for name in environment.keys() - {"PYTHONUNBUFFERED"}:
        if name.lower() not in fields:
            yield name


@pytest.mark.parametrize("service", topology.SERVICES)
def test_every_variable_is_a_setting(compose, embedded, service):
    assert list(unknown_settings(service, compose[service]["environment"])) == []
    assert list(unknown_settings(service, embedded[service].env)) == []


def test_misspelt_setting_is_seen(compose):
    environment = compose["directory-sync"]["environment"]
    environment["DIRECTORY_FODLER"] = environment.pop("DIRECTORY_FOLDER")
    assert list(unknown_settings("directory-sync", environment)) == ["DIRECTORY_FODLER"]


def test_finance_system_is_told_the_same_by_both(compose, embedded):
    theirs = compose["finance-subscriber"]["environment"]
    ours = embedded["finance-subscriber"].env
    assert theirs.keys() == ours.keys()
    of_the_place = {"CLAIMS_URL", "LEDGER", "CLIENT_SECRET"}
    assert [key for key in theirs.keys() - of_the_place if theirs[key] != ours[key]] == []


def test_every_program_waits_for_what_it_needs(compose, embedded):
    for name, process in embedded.items():
        waits = waited_for(compose, name.replace(".", "-"))
        assert {needed.replace(".", "-") for needed in process.after} <= waits, name


def test_forgotten_wait_is_seen(compose):
    del compose["claims"]["depends_on"]["claims-migrate"]
    assert "claims-migrate" not in waited_for(compose, "claims")


def waited_for(compose: dict, name: str) -> set[str]:
    """What stands before a program, directly or by way of another."""
    before = set(compose[name].get("depends_on", ()))
    return before.union(*(waited_for(compose, other) for other in before))


def test_every_secret_is_in_the_file_that_tonglu_company_writes(tmp_path):
    company.prepare(tmp_path)
    written = {line.partition("=")[0] for line in (tmp_path / "compose.env").read_text().split()}
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) == written
