"""Definitions as text: what is read, what is refused and at which place, and what is written."""

import json
from datetime import date
from pathlib import Path

import pytest
from events.workflow import DocumentKind, Mode
from workflow.definition.domain import (
    Definition,
    DefinitionInvalid,
    Fault,
    SameApprover,
    SubmitterIsApprover,
    parse_definition,
    storable,
    stored_definition,
    write_definition,
)

PACKAGED = Path(__file__).parents[1] / "src/workflow/definitions"
EXAMPLES = Path(__file__).parents[3] / "examples/company/definitions"
GUIDES = sorted((Path(__file__).parents[3] / "docs/howto").glob("approval-definitions*.md"))
HEAD = """\
id: trip-request
version: 3
name: {zh: 出差申请, en: Trip}
kind: trip
mode: mirrored
tenant: flowable
"""
WHOLE = (
    HEAD
    + """\
effective_from: 2026-01-01
effective_to: 2026-12-31
submitter_is_approver: skip
same_approver: consecutive
resubmit: to_rejector
automatic:
  when: size(violations) == 0 && amount < money("500.00 CNY")
  audit_percent: 5
steps:
  - id: line
    name: {zh: 上级, en: Managers}
    approvers:
      - {rule: line_manager}
      - {rule: manager_above, levels: 2}
      - {rule: department_head, levels: 1}
    completion: sequence
  - name: 财务
    when: |
      amount > money("1000.00 CNY") ||
      claim.lines.exists(l, l.category == "hotel")
    approvers: [{rule: role, role: finance}, {rule: oa_role, role: cfo}]
    completion: {ratio: 60}
    deadline: {hours: 8, remind: [4, 7.5], escalate: 16, decide: {after: 24, decision: return}}
  - name: 指定
    approvers:
      - {rule: chosen_by_submitter, from: {people: [E1001], roles: [finance]}, min: 1, max: 3}
      - {rule: person, person: E1002}
      - {rule: cost_centre_owner}
    completion: all
"""
)
STEPS = "steps:\n  - name: 上级\n    approver: {rule: line_manager}\n"


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(DefinitionInvalid) as refused:
        parse_definition(text)
    return refused.value.faults


def test_every_setting_is_read() -> None:
    found = parse_definition(WHOLE)
    assert (found.label, found.kind, found.mode) == (
        "trip-request@3",
        DocumentKind.TRIP,
        Mode.MIRRORED,
    )
    assert found.submitter_is_approver is SubmitterIsApprover.SKIP
    assert found.same_approver is SameApprover.CONSECUTIVE
    assert [id_ for id_, _ in found.named_steps] == ["line", "step-2", "step-3"]
    assert found.roles() == {"finance", "flowable:cfo"}
    assert found.people() == {"E1001", "E1002"}
    assert len(found.conditions) == 2


@pytest.mark.parametrize("file", [*PACKAGED.glob("*.yaml"), *EXAMPLES.glob("*.yaml")], ids=str)
def test_definition_that_we_ship_is_read_and_written_and_read_again(file) -> None:
    found = parse_definition(file.read_text(encoding="utf-8"))
    assert parse_definition(write_definition(found)) == found


def test_example_of_the_guide_is_the_same_in_both_languages_and_can_be_imported() -> None:
    shown = [guide.read_text(encoding="utf-8").split("```yaml\n")[1] for guide in GUIDES]
    english, chinese = (parse_definition(text.split("```")[0]) for text in shown)
    assert english == chinese
    assert len(english.conditions) == 2


@pytest.mark.parametrize("text", [WHOLE, HEAD + STEPS])
def test_what_is_written_reads_as_the_same_and_so_does_json_and_what_is_kept(text) -> None:
    found = parse_definition(text)
    assert parse_definition(write_definition(found)) == found
    assert write_definition(parse_definition(write_definition(found))) == write_definition(found)
    as_json = json.dumps(found.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert parse_definition(as_json) == found
    assert stored_definition(storable(found)) == found


def test_what_an_earlier_release_kept_is_still_read() -> None:
    kept = (
        '{"id": "travel-claim", "version": 1, "name": {"zh": "差旅报销", "en": "Travel claim"},'
        ' "kind": "claim", "mode": "delegated", "tenant": "flowable", "steps": ['
        '{"name": "直属上级", "approver": {"rule": "line_manager", "role": null}},'
        ' {"name": "财务", "approver": {"rule": "role", "role": "finance"}}]}'
    )
    example = parse_definition((EXAMPLES / "travel-claim.yaml").read_text(encoding="utf-8"))
    assert stored_definition(kept) == example


@pytest.mark.parametrize(
    ("before", "after", "field", "at", "said"),
    [
        ("money(", "yuan(", "/automatic/when", "yuan(", "no function yuan"),
        ("l.category", "l.kategory", "/steps/1/when", "kategory", "no field kategory"),
        ('"hotel")', '"hotel"', "/steps/1/when", "\n    approvers: [{rule: role, ", "syntax"),
        ("size(violations)", "1 / size(violations)", "/automatic/when", "/ size", "zero"),
        ("rule: person,", "rule: boss,", "/steps/2/approvers/1/rule", "boss", "line_manager"),
        (
            "levels: 2",
            "role: x",
            "/steps/0/approvers/1/levels",
            "{rule: manager_above",
            "needs levels",
        ),
        ("E1002", "E1, role: y", "/steps/2/approvers/1/role", "y}", "has no role"),
        ("min: 1", "min: 4", "/steps/2/approvers/0/min", "4, max", "over max"),
        ("percent: 5", "percent: 101", "/automatic/audit_percent", "101", "100"),
        ("  audit_percent: 5\n", "", "/automatic/audit_percent", "when: size", "required"),
        ("2026-12-31", "2025-12-31", "/effective_to", "2025-12-31", "is before effective_from"),
        ("2026-12-31", "2026-13-31", "/", "id: trip", "month"),
        ("id: line", "id: step-2", "/steps", "- id: step-2", "two have the id step-2"),
        ("tenant: flowable\n", "", "/tenant", "id: trip", "name the OA"),
        ("mode: mirrored", "mode: native", "/tenant", "flowable", "name the OA"),
        (
            "escalate: 16",
            "escalate: 7",
            "/steps/1/deadline/escalate",
            "7, decide",
            "before it is due",
        ),
        ("after: 24", "after: 7", "/steps/1/deadline/decide", "{after: 7", "before"),
        ("tenant: flowable", "colour: yellow", "/colour", "yellow", "not permitted"),
        ("tenant: flowable", "version: 4", "/version", "version: 4", "stands twice"),
        ("kind: trip", "kind: UNKNOWN", "/kind", "UNKNOWN", "claim"),
        ("completion: all", "completion: some", "/steps/2/completion", "some", "one"),
        ("completion: all", "when: 77", "/steps/2/when", "77", "CEL expression"),
        (
            "completion: all",
            "approver: {rule: role, role: x}",
            "/steps/2/approvers",
            "- {rule: chosen",
            "not both",
        ),
        ("completion: all", "completion: [", "/", None, "not YAML"),
        ("name: 指定", "name: [\x07]", "/", "id: trip", "not YAML"),
        ("name: 指定", "name: " + "[" * 5000, "/", "id: trip", "nested"),
        ("name: 指定", "name: &a [*a]", "/steps/2/name", "&a", "valid string"),
        ("name: 指定", "name: !!timestamp x", "/", "id: trip", "not YAML"),
        ("name: 指定", "name: !!python/object:os.system {}", "/", "!!python", "not YAML"),
    ],
)
def test_definition_that_breaks_a_rule_is_refused_at_its_place(
    before, after, field, at, said
) -> None:
    text = WHOLE.replace(before, after, 1)
    faults = [one for one in faults_of(text) if one.field == field]
    assert said in faults[0].en
    assert faults[0].zh
    ahead = text[: text.index(at)] if at is not None else text
    expected = (ahead.count("\n") + 1, len(ahead) - ahead.rfind("\n"))
    assert faults[0].place == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "valid dictionary"),
        ("- 1", "valid dictionary"),
        (f"# {'x' * 100_000}", "over 100000 characters"),
        ("? [a, b]\n: c", "not YAML"),
        (HEAD + "steps: []\n", "at least 1"),
        (HEAD + "steps:\n  - name: 空\n", "name approver, who asks one"),
    ],
)
def test_text_that_is_no_definition_is_refused(text, said) -> None:
    assert said in faults_of(text)[0].en


def test_aliases_do_not_multiply_the_work() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)
    )
    assert len(faults_of(bomb)) > 30


def test_message_names_place_field_and_rule() -> None:
    with pytest.raises(DefinitionInvalid, match=r"line 10, column 9: /colour: .*not permitted"):
        parse_definition(HEAD + STEPS + "colour: red\n")


@pytest.mark.parametrize(
    ("day", "holds"),
    [("2025-12-31", False), ("2026-01-01", True), ("2026-12-31", True), ("2027-01-01", False)],
)
def test_definition_holds_from_its_first_to_its_last_day(day, holds) -> None:
    assert parse_definition(WHOLE).holds_on(date.fromisoformat(day)) == holds
    assert parse_definition(HEAD + STEPS).holds_on(date.fromisoformat(day))


def test_schema_of_a_definition_can_be_printed() -> None:
    assert Definition.model_json_schema()["properties"]["steps"]["minItems"] == 1
