"""Golden examples and the way from an example to a Kafka record."""

import json

import pytest
from events import printouts


@pytest.fixture(scope="session")
def golden():
    return printouts.examples()


@pytest.fixture
def record(golden):
    """Build headers and value of an event's golden example, with some of either replaced."""

    def build(type_, headers=(), value=()):
        example = golden[type_]
        sent = example["headers"] | dict(headers)
        content = json.dumps(example["value"] | dict(value)).encode()
        return [(name, text.encode()) for name, text in sent.items()], content

    return build
