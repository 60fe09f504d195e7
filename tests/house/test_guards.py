"""The tools behind `make check` are set so that they bite: each is shown one small crime."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

CRIMES = {
    "ruff refuses a bare print": (
        ["ruff", "check", "--config", ROOT / "pyproject.toml"],
        "crime.py",
        '"""A module."""\n\nprint("hello")\n',
        "T201",
    ),
    "ruff refuses a function of many branches": (
        ["ruff", "check", "--config", ROOT / "pyproject.toml"],
        "crime.py",
        '"""A module."""\n\n\ndef f(a: int) -> int:\n'
        + "".join(f"    if a == {n}:\n        return {n}\n" for n in range(100, 112))
        + "    return a\n",
        "C901",
    ),
    "the format is fixed": (
        ["ruff", "format", "--check", "--config", ROOT / "pyproject.toml"],
        "crime.py",
        "x = {  'a':1 }\n",
        "would be reformatted",
    ),
    "mypy refuses an id of another kind": (
        ["mypy", "--config-file", ROOT / "pyproject.toml"],
        "crime.py",
        "from events import ClaimId, TaskId\n\nclaim: ClaimId = TaskId('t')\n",
        "Incompatible types",
    ),
    "mypy refuses a handler wired to the wrong event": (
        ["mypy", "--config-file", ROOT / "pyproject.toml"],
        "crime.py",
        (
            "from chassis import Tx, on\n"
            "from events.claims import ClaimApproved, ClaimRejected\n\n\n"
            "async def handler(tx: Tx, event: ClaimApproved) -> None: ...\n\n\n"
            "line = on(ClaimRejected, handler)\n"
        ),
        "arg-type",
    ),
    "squawk refuses a migration that takes something away": (
        ["squawk", "--config", ROOT / ".squawk.toml"],
        "20270101000000_crime.sql",
        "-- migrate:up\nALTER TABLE claim DROP COLUMN title;\n-- migrate:down\n",
        "ban-drop-column",
    ),
    "squawk refuses a migration that locks a table for long": (
        ["squawk", "--config", ROOT / ".squawk.toml"],
        "20270101000000_crime.sql",
        "-- migrate:up\nALTER TABLE claim ALTER COLUMN title SET NOT NULL;\n-- migrate:down\n",
        "adding-not-nullable-field",
    ),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_guard_bites(crime: str, tmp_path: Path) -> None:
    (tool, *options), name, text, said = CRIMES[crime]
    file = tmp_path / name
    file.write_text(text)
    done = subprocess.run(
        [BIN / str(tool), *options, file], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
