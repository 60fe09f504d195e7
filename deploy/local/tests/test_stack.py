import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from local_stack.process import NotReady, Process, answers
from local_stack.stack import Stack

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
async def stack(tmp_path):
    stack = Stack(tmp_path / "stack")
    yield stack
    await stack.down(grace_seconds=2)


@pytest.fixture
def stranger():
    """A program that the stack has not started."""
    child = subprocess.Popen(SLEEP)
    yield child
    child.kill()
    child.wait()


async def at_once() -> None:
    """Ready as soon as it runs."""


def sleeper(name: str, **more) -> Process:
    return Process(name, SLEEP, ready=at_once, **more)


def runs(pid: int) -> bool:
    """A child of a terminal that has gone may stay as a zombie, where nobody reaps it."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def up(stack: Stack, *processes: Process) -> dict[str, str]:
    return await stack.up([], lambda _: processes)


async def test_early_exit_is_reported_with_exit_code_and_end_of_log(stack):
    code = "import sys; print('cannot find the ledger'); sys.exit(7)"
    broken = Process("books", (sys.executable, "-c", code), ready=answers("http://127.0.0.1:1/"))
    with pytest.raises(NotReady, match=r"books ended early with exit code 7") as refusal:
        await up(stack, broken)
    assert "cannot find the ledger" in str(refusal.value)


async def test_process_that_never_answers_is_reported_with_what_the_probe_said(stack):
    mute = Process("mute", SLEEP, ready=answers("http://127.0.0.1:1/"), deadline_seconds=0.3)
    with pytest.raises(NotReady, match=r"mute was not ready after 0.3 s \(ConnectError"):
        await up(stack, mute)


async def test_failure_stops_what_the_same_up_has_started(stack):
    broken = Process("broken", (sys.executable, "-c", "raise SystemExit(1)"), after=("first",))
    with pytest.raises(NotReady):
        await up(stack, sleeper("first"), broken)
    assert stack.status() == []


async def test_process_starts_after_those_it_names(stack, tmp_path):
    first = Process("first", (sys.executable, "-c", f"open({str(tmp_path / 'done')!r}, 'w')"))
    look = f"import os, sys; sys.exit(not os.path.exists({str(tmp_path / 'done')!r}))"
    await up(stack, Process("second", (sys.executable, "-c", look), after=("first",)), first)


async def test_task_must_end_with_exit_code_zero_and_is_not_kept_on_record(stack):
    await up(stack, Process("migrate", (sys.executable, "-c", "pass")))
    assert stack.status() == []
    with pytest.raises(NotReady, match="migrate ended early with exit code 3"):
        await up(stack, Process("migrate", (sys.executable, "-c", "raise SystemExit(3)")))


async def test_second_up_finds_what_runs_and_starts_what_does_not(stack):
    await up(stack, sleeper("old"))
    (old,) = stack.status()
    await up(Stack(stack.folder), sleeper("old"), sleeper("new"))
    assert [(status.name, status.is_running) for status in stack.status()] == [
        ("old", True),
        ("new", True),
    ]
    assert stack.status()[0].pid == old.pid


async def test_processes_outlive_the_terminal_and_another_one_takes_them_down(stack):
    code = (
        "import asyncio, sys; from pathlib import Path;"
        "sys.path.insert(0, sys.argv[2]); from test_stack import up, sleeper, Stack;"
        "asyncio.run(up(Stack(Path(sys.argv[1])), sleeper('orphan')))"
    )
    here = Path(__file__).parent
    terminal = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(stack.folder), str(here))
    )
    assert await terminal.wait() == 0
    (orphan,) = stack.status()
    assert orphan.is_running

    await Stack(stack.folder).down()
    assert not runs(orphan.pid)
    assert stack.status() == []


async def test_down_leaves_a_reused_pid_alone(stack, stranger):
    await up(stack, sleeper("gone"))
    state = stack.folder / "state.json"
    content = json.loads(state.read_text())
    psutil.Process(content["processes"][0]["pid"]).kill()
    content["processes"][0]["pid"] = stranger.pid
    content["processes"][0]["created"] -= 60
    state.write_text(json.dumps(content))

    await stack.down()
    assert stranger.poll() is None
    assert stack.status() == []


async def test_process_that_ignores_its_stop_signal_is_killed_after_the_grace(stack):
    deaf = (
        "import signal, time, pathlib;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(stack.folder / 'deaf')!r}).touch(); time.sleep(600)"
    )

    async def is_deaf() -> None:
        (stack.folder / "deaf").stat()

    await up(stack, Process("deaf", (sys.executable, "-c", deaf), ready=is_deaf))
    (status,) = stack.status()
    await stack.down(grace_seconds=0.2)
    assert not runs(status.pid)


async def test_down_stops_those_that_need_others_first(tmp_path):
    order: list[str] = []
    stack = Stack(
        tmp_path, say=lambda name, words: order.append(name) if words == "stopping" else None
    )
    await up(stack, sleeper("db"), sleeper("api", after=("db",)), sleeper("web", after=("api",)))
    await stack.down()
    assert order == ["web", "api", "db"]


async def test_watch_says_which_process_ended(stack):
    await up(stack, sleeper("one"), sleeper("two"))
    watch = asyncio.create_task(stack.watch())
    stack.signal("two", signal.SIGKILL)
    with pytest.raises(NotReady, match="two ended with exit code -9"):
        await asyncio.wait_for(watch, 10)


async def test_port_of_a_name_stays_the_same(stack):
    assert stack.port("api") == Stack(stack.folder).port("api")
    assert stack.port("api") != stack.port("web")


async def test_servers_named_by_the_environment_are_used_and_not_started(stack, kafka, postgres):
    elsewhere = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "POSTGRES_DSN": postgres.dsn,
    }
    provides = await stack.up(["kafka", "postgres"], elsewhere=elsewhere)
    assert provides == elsewhere
    assert stack.status() == []
