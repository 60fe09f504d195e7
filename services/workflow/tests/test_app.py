"""Definition files: what is read, and what each error names."""

from pathlib import Path

import pytest
from workflow.app import DefinitionsUnreadable, read_definitions
from workflow.settings import PACKAGED_DEFINITIONS

GOOD = """
id: travel-claim
version: 1
name: {zh: 差旅, en: Travel}
kind: claim
mode: native
steps: [{name: 上级, approver: {rule: line_manager}}]
"""


def test_packaged_definition_is_valid() -> None:
    (found,) = read_definitions(PACKAGED_DEFINITIONS)
    assert (found.label, found.roles) == ("travel-claim@1", ["finance"])


@pytest.mark.parametrize(
    ("old", "new", "field", "rule"),
    [
        ("id: travel-claim", "id: Travel", "id", "match pattern"),
        ("version: 1", "version: 0", "version", "greater than or equal to 1"),
        ("kind: claim", "kind: UNKNOWN", "kind", "Input should be"),
        ("mode: native", "mode: mirrored", "mode", "Input should be"),
        ("mode: native", "mode: delegated", "definition", "tenant: name the OA"),
        ("mode: native", "mode: native\ntenant: oa", "definition", "tenant: name the OA"),
        ("line_manager", "boss", "steps.0.approver.rule", "Input should be"),
        ("line_manager", "role", "steps.0.approver", "role: name one"),
        ("line_manager", "line_manager, role: x", "steps.0.approver", "role: name one"),
        ("line_manager", "role, role: ''", "steps.0.approver.role", "at least 1 character"),
        ("[{name: 上级, approver: {rule: line_manager}}]", "[]", "steps", "at least 1 item"),
        ("version: 1", "version: 1\nowner: me", "owner", "not permitted"),
        ("en: Travel", "en: ''", "name.en", "at least 1 character"),
    ],
)
def test_error_names_file_field_and_rule(tmp_path: Path, old, new, field, rule) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(DefinitionsUnreadable) as refused:
        read_definitions(tmp_path)
    assert str(refused.value).startswith(f"a.yaml: {field}: ")
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "a.yaml: not YAML"),
        (b"", "a.yaml: definition: "),
        (GOOD.encode("gb18030"), "a.yaml: not UTF-8"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(DefinitionsUnreadable) as refused:
        read_definitions(tmp_path)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("folder", [".", "missing"])
def test_folder_without_definitions_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DefinitionsUnreadable, match="put one definition there"):
        read_definitions(tmp_path / folder)
