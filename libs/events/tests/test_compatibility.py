"""The gate between releases: what only grows passes, every other change is named."""

import copy
import json
import subprocess
import sys

import pytest
from events import compatibility, printouts
from events.compatibility import breaks, contracts

SUBMITTED = "claim.submitted.v1"


@pytest.fixture
def released():
    return contracts()


@pytest.fixture
def current(released):
    return copy.deepcopy(released)


def schema(of, type_=SUBMITTED):
    return of["events"][type_]["schema"]


def test_equal_contracts_break_nothing(released, current):
    assert breaks(released, current) == []


def test_an_optional_field_a_new_event_and_a_new_topic_are_additions(released, current):
    schema(current)["properties"]["trip_id"] = {"type": "string"}
    schema(current)["$defs"]["ExpenseLine"]["properties"]["note"] = {"type": "string"}
    current["events"]["claim.archived.v1"] = copy.deepcopy(current["events"][SUBMITTED])
    current["topics"]["claims.trip.v1"] = {"key": "trip_id", "partitions": 12, "cleanup": "delete"}

    assert breaks(released, current) == []


def test_a_new_value_of_an_open_enumeration_is_an_addition(released, current):
    schema(current)["$defs"]["Severity"]["x-extensible-enum"].append("info")

    assert breaks(released, current) == []


def test_words_for_people_may_change(released, current):
    schema(current)["description"] = "Said better."
    schema(current)["properties"]["revision"]["description"] = "Said better."
    schema(current)["properties"]["title"]["title"] = "Said better"

    assert breaks(released, current) == []


def test_a_definition_may_get_another_name(released, current):
    text = json.dumps(schema(current)).replace("ExpenseLine", "Line")
    current["events"][SUBMITTED]["schema"] = json.loads(text)

    assert breaks(released, current) == []


def remove_field(of):
    del schema(of)["properties"]["title"]
    schema(of)["required"].remove("title")


def rename_field(of):
    fields = schema(of)["properties"]
    fields["name"] = fields.pop("title")
    schema(of)["required"].remove("title")


def remove_nested_field(of):
    del schema(of)["$defs"]["ExpenseLine"]["properties"]["city"]


def change_type(of):
    schema(of)["properties"]["revision"]["type"] = "string"


def change_element_type(of):
    schema(of, "employee.updated.v1")["properties"]["roles"]["items"]["type"] = "integer"


def narrow_a_bound(of):
    schema(of)["properties"]["revision"]["minimum"] = 2


def narrow_a_length(of):
    schema(of)["properties"]["title"]["maxLength"] = 100


def widen_a_length(of):
    schema(of)["properties"]["title"]["maxLength"] = 400


def add_a_bound(of):
    schema(of)["properties"]["claim_id"]["maxLength"] = 36


def narrow_a_pattern(of):
    schema(of)["$defs"]["Money"]["properties"]["currency"]["pattern"] = "^(CNY|USD)$"


def change_a_format(of):
    schema(of)["properties"]["submitted_at"]["format"] = "date"


def change_a_default(of):
    schema(of, "employee.updated.v1")["properties"]["language"]["default"] = "en"


def refuse_null(of):
    line = schema(of)["$defs"]["ExpenseLine"]["properties"]
    line["city"] = {"type": "string", "default": None}


def add_required(of):
    schema(of)["properties"]["company_id"] = {"type": "string"}
    schema(of)["required"].append("company_id")


def add_nested_required(of):
    line = schema(of)["$defs"]["ExpenseLine"]
    line["properties"]["tax"] = {"type": "string"}
    line["required"].append("tax")


def make_required(of):
    schema(of)["$defs"]["ExpenseLine"]["required"].append("city")


def make_optional(of):
    schema(of)["required"].remove("content_hash")


def remove_enum_value(of):
    schema(of)["$defs"]["Severity"]["x-extensible-enum"].remove("block")


def close_an_enum(of):
    severity = schema(of)["$defs"]["Severity"]
    severity["enum"] = severity.pop("x-extensible-enum")


def make_an_enum(of):
    category = schema(of)["$defs"]["ExpenseLine"]["properties"]["category"]
    category["x-extensible-enum"] = ["hotel", "flight"]


def forget_the_element_type(of):
    del schema(of, "employee.updated.v1")["properties"]["roles"]["items"]


def forbid_unknown_fields(of):
    schema(of)["additionalProperties"] = False


def remove_event(of):
    del of["events"]["claim.withdrawn.v1"]


def move_event(of):
    of["events"]["claim.withdrawn.v1"]["topic"] = "workflow.approval.v1"


def remove_topic(of):
    del of["topics"]["claims.claim.v1"]


def change_key(of):
    of["topics"]["claims.claim.v1"]["key"] = "employee_id"


def add_partitions(of):
    of["topics"]["claims.claim.v1"]["partitions"] = 24


def change_cleanup(of):
    of["topics"]["directory.employee.v1"]["cleanup"] = "delete"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (remove_field, [SUBMITTED, "field title", "removed or renamed"]),
        (rename_field, [SUBMITTED, "field title", "removed or renamed"]),
        (remove_nested_field, [SUBMITTED, "field lines[].city", "removed or renamed"]),
        (change_type, ["field revision", "type changed from integer to string"]),
        (change_element_type, ["field roles[]", "type changed from string to integer"]),
        (narrow_a_bound, ["field revision", "minimum changed from 1 to 2"]),
        (narrow_a_length, ["field title", "maxLength changed from 200 to 100"]),
        (widen_a_length, ["field title", "maxLength changed from 200 to 400"]),
        (add_a_bound, ["field claim_id", "maxLength changed from none to 36"]),
        (narrow_a_pattern, ["field total.currency", "pattern changed"]),
        (change_a_format, ["field submitted_at", "format changed from date-time to date"]),
        (change_a_default, ["employee.updated.v1", "field language", "default changed"]),
        (refuse_null, ["field lines[].city", "nullable changed"]),
        (add_required, ["field company_id", "new and required", "give it a default"]),
        (add_nested_required, ["field lines[].tax", "new and required"]),
        (make_required, ["field lines[].city", "optional and became required"]),
        (make_optional, ["field content_hash", "was required and may now be absent"]),
        (remove_enum_value, ["field violations[].severity", "the value block was removed"]),
        (close_an_enum, ["field violations[].severity", "enum changed from none"]),
        (make_an_enum, ["field lines[].category", "would become UNKNOWN"]),
        (forget_the_element_type, ["field roles[]", "type changed from string to none"]),
        (forbid_unknown_fields, ["field of any name", "additionalProperties changed"]),
        (remove_event, ["claim.withdrawn.v1", "the event is gone"]),
        (move_event, ["claim.withdrawn.v1", "moved from topic claims.claim.v1"]),
        (remove_topic, ["claims.claim.v1", "the topic is gone"]),
        (change_key, ["claims.claim.v1", "key changed from claim_id to employee_id"]),
        (add_partitions, ["claims.claim.v1", "partitions changed from 12 to 24"]),
        (change_cleanup, ["directory.employee.v1", "cleanup changed from compact to delete"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_break_is_told_with_its_place_and_its_rule(change, named, released, current):
    change(current)

    told = breaks(released, current)

    assert any(all(word in sentence for word in named) for sentence in told), told


@pytest.mark.parametrize("change", [change_type, remove_field, remove_event, add_partitions])
def test_a_break_is_told_with_a_way_out(change, released, current):
    change(current)

    for sentence in breaks(released, current):
        assert any(word in sentence for word in ("claim.submitted.v2 beside it", "Keep"))


def test_the_present_contracts_only_add_to_the_newest_release():
    checked = subprocess.run(
        [sys.executable, "-m", "events.compatibility"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert checked.returncode == 0, checked.stderr


def test_the_command_fails_on_a_break(tmp_path, monkeypatch, capsys):
    printouts.release("0.1.0", tmp_path)
    kept = tmp_path / "released" / "0.1.0" / "contracts.json"
    older = json.loads(kept.read_text(encoding="utf-8"))
    older["events"]["claim.archived.v1"] = older["events"][SUBMITTED]
    kept.write_text(json.dumps(older), encoding="utf-8")
    monkeypatch.setattr(compatibility, "RELEASED", tmp_path / "released")

    assert compatibility.main() == 1
    assert "claim.archived.v1: the event is gone" in capsys.readouterr().err
