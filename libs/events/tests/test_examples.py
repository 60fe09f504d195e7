"""Every event has one golden example that every reader can rely on."""

import json

import pytest
from events import decode, event_classes, printouts
from jsonschema import Draft202012Validator, FormatChecker

TYPES = [cls.TYPE for cls in event_classes()]
RELEASES = sorted((printouts.CONTRACTS / printouts.RELEASED).glob("*/examples.json"))


def read(example):
    headers = [(name, text.encode()) for name, text in example["headers"].items()]
    return decode(headers, json.dumps(example["value"]).encode())


def test_every_event_has_one_example_and_no_example_is_orphaned():
    assert {path.stem for path in printouts.EXAMPLES.glob("*.json")} == set(TYPES)


@pytest.mark.parametrize("type_", TYPES)
def test_an_example_reads_and_writes_back_the_same(type_, golden):
    example = golden[type_]

    envelope = read(example)

    assert envelope.headers() == example["headers"]
    assert json.loads(envelope.value()) == example["value"]


@pytest.mark.parametrize("cls", event_classes(), ids=lambda cls: cls.TYPE)
def test_an_example_fits_its_schema(cls, golden):
    schema = printouts.schema(cls)
    Draft202012Validator.check_schema(schema)

    checked = Draft202012Validator(schema, format_checker=FormatChecker())

    assert list(checked.iter_errors(golden[cls.TYPE]["value"])) == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.parent.name)
def test_every_example_ever_released_is_still_read(release):
    for type_, example in json.loads(release.read_text(encoding="utf-8")).items():
        assert type_ == read(example).event.TYPE
