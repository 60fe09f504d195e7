"""Definition files: what is read, and what each error names."""

from pathlib import Path

import pytest
from workflow.app import read_definitions
from workflow.definition.domain import DefinitionInvalid
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
    assert (found.label, found.roles()) == ("travel-claim@1", {"finance"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "a.yaml: line 1, column 5: /: not YAML"),
        (b"", "a.yaml: line 1, column 1: /: "),
        (GOOD.replace("kind: claim", "kind: x").encode(), "a.yaml: line 5, column 7: /kind: "),
        (GOOD.encode("gb18030"), "a.yaml: not UTF-8"),
    ],
)
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(DefinitionInvalid) as refused:
        read_definitions(tmp_path)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("folder", [".", "missing"])
def test_folder_without_definitions_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DefinitionInvalid, match="put one definition there"):
        read_definitions(tmp_path / folder)
