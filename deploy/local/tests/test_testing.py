import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

USES_POSTGRES = """
import time
from pathlib import Path

def pid(postgres):
    return str(next(one.pid for one in postgres.server.stack.status() if one.name == "postgres"))

def test_one(postgres):
    Path("one").write_text(pid(postgres))

def test_two(postgres):
    Path("two").write_text(pid(postgres))
"""
SLEEPS = "\ndef test_three():\n    time.sleep(600)\n"


@pytest.fixture
def inner(tmp_path):
    """Start a pytest run of its own, not a part of this one."""
    env = {name: text for name, text in os.environ.items() if not _is_of_this_run(name)}

    def run(tests: str, *arguments: str) -> subprocess.Popen:
        (tmp_path / "test_inner.py").write_text(tests)
        command = (sys.executable, "-m", "pytest", "-q", "-p", "local_stack.testing")
        return subprocess.Popen([*command, *arguments], cwd=tmp_path, env=env)

    return run


def test_workers_share_one_server_and_the_run_ends_it(inner, tmp_path):
    assert inner(USES_POSTGRES, "-n", "2").wait(60) == 0
    one, two = ((tmp_path / name).read_text() for name in ("one", "two"))
    assert one == two
    assert not _runs(int(one))


def test_servers_of_a_killed_run_are_ended_by_the_next(inner, tmp_path):
    killed = inner(USES_POSTGRES + SLEEPS, "-p", "no:xdist")
    pid = int(_eventually(lambda: _text(tmp_path / "two")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert _runs(pid)

    assert inner("def test_nothing(): pass", "-p", "no:xdist").wait(60) == 0
    assert not _runs(pid)


def _eventually(look, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
    return found


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _is_of_this_run(name: str) -> bool:
    return name.startswith(("TONGLU_", "PYTEST_", "POSTGRES_", "KAFKA_"))


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
