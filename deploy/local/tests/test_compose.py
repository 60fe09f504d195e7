"""`deploy/compose.yaml` and the embedded stack are two prints of one table."""

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from local_stack.container import KAFKA_IMAGE, POSTGRES_ENV, POSTGRES_IMAGE, kafka_env
from local_stack.places import CHECKOUT
from local_stack.stack import Stack
from tonglu import topology

ADDRESSES = {
    "POSTGRES_DSN": "postgresql://postgres@postgres:5432/postgres",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "OIDC_ISSUER": "http://identity.localhost:9000",
    "FLOWABLE_URL": "http://flowable:8080",
}
# What differs by the nature of the place: a port of its own, and where a folder is mounted.
OF_THE_PLACE = {"CLAIM_URL", "HTTP_PORT", "DEFINITIONS_DIR", "DIRECTORY_FOLDER"}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The processes that the embedded stack would start, were its servers at those addresses."""
    folder = tmp_path_factory.mktemp("stack")
    stack, people = topology.open_stack(folder)
    assert isinstance(stack, Stack)
    found = {process.name: process for process in topology.services(stack, people)(ADDRESSES)}
    return found, people


def test_compose_file_is_valid(compose):
    package = Path(importlib.util.find_spec("check_jsonschema").origin).parent
    schema = json.loads((package / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(compose, schema)


@pytest.mark.parametrize("name", topology.SERVICES)
def test_service_is_told_the_same_by_both(compose, embedded, name):
    processes, people = embedded
    theirs, ours = compose["services"][name]["environment"], processes[name].env
    assert theirs.keys() == ours.keys()
    for key in theirs.keys() - OF_THE_PLACE:
        assert _plain(_filled(theirs[key], people)) == _plain(ours[key]), key


def test_every_process_of_the_embedded_stack_is_in_compose(compose, embedded):
    processes, _ = embedded
    assert {name.replace(".", "-") for name in processes} <= compose["services"].keys()


def test_servers_run_the_same_versions_and_settings(compose):
    kafka, postgres = compose["services"]["kafka"], compose["services"]["postgres"]
    assert kafka["image"] == KAFKA_IMAGE
    assert postgres["image"] == POSTGRES_IMAGE
    assert postgres["environment"] == POSTGRES_ENV
    settings = {**kafka["environment"]}
    del settings["KAFKA_LOG_DIRS"]
    assert settings == kafka_env("kafka:9092")


def test_every_port_is_on_loopback_only(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def _filled(text: str, people) -> str:
    secrets = {
        "OA_ADMIN_PASSWORD": people.secrets.oa_admin,
        "OA_WEBHOOK_SECRET": people.secrets.oa_webhook,
    }
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda found: secrets[found[1]], text)


def _plain(text: str):
    """JSON by its meaning, everything else by its letters."""
    return json.loads(text) if text.startswith("{") else text
