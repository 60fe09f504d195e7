"""The committed print-outs equal the contracts; each way of not doing so is seen."""

import os
import subprocess
import sys

import pytest
from events import compatibility, printouts


@pytest.fixture
def folder(tmp_path):
    printouts.write(tmp_path)
    return tmp_path


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "events.printouts", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )


def test_the_committed_print_outs_are_fresh():
    assert printouts.stale() == []


def test_the_same_contracts_print_the_same_bytes_in_another_process(folder):
    assert run("check").returncode == 0
    assert printouts.stale(folder) == []


def test_a_stale_a_missing_and_an_orphaned_file_are_each_named(folder):
    (folder / "schemas" / "claim.submitted.v1.json").write_text("{}")
    (folder / "topics" / "claims.claim.v1.md").unlink()
    (folder / "schemas" / "claim.archived.v1.json").write_text("{}")

    assert printouts.stale(folder) == [
        "schemas/claim.archived.v1.json: nothing prints it out any more",
        "schemas/claim.submitted.v1.json: out of date",
        "topics/claims.claim.v1.md: missing",
    ]


def test_an_event_without_a_golden_example_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(printouts, "EXAMPLES", tmp_path)
    monkeypatch.setattr(sys, "argv", ["printouts", "check"])

    assert printouts.main() == 1
    assert "has no golden example: write libs/events/examples/" in capsys.readouterr().err


def test_writing_removes_orphans_and_leaves_releases_alone(folder):
    (folder / "schemas" / "claim.archived.v1.json").write_text("{}")
    printouts.release("0.1.0", folder)

    printouts.write(folder)

    assert printouts.stale(folder) == []
    assert not (folder / "schemas" / "claim.archived.v1.json").exists()
    assert (folder / "released" / "0.1.0" / "contracts.json").exists()


def test_a_release_is_kept_once_and_for_all(folder):
    printouts.release("0.1.0", folder)

    with pytest.raises(ValueError, match="released already"):
        printouts.release("0.1.0", folder)


@pytest.mark.parametrize("number", ["1", "v1.0.0", "1.0.0-rc1", "../1.0.0"])
def test_a_release_has_a_plain_version(number, folder):
    with pytest.raises(ValueError, match=r"write it like 1\.2\.3"):
        printouts.release(number, folder)


def test_the_newest_release_is_the_highest_number_and_not_the_last_word(tmp_path):
    for number in ("0.9.0", "0.10.0", "0.2.11"):
        (tmp_path / number).mkdir()

    assert compatibility.newest_release(tmp_path) == tmp_path / "0.10.0"


def test_a_page_shows_how_to_subscribe_in_code_that_compiles(folder):
    for page in (folder / "topics").glob("*.md"):
        snippet = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]

        compile(snippet, page.name, "exec")
        assert "import events" not in snippet
