"""One program of the stack as a value, and the spawning, watching and signalling of it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import psutil

_TAIL_LINES = 20
_POLL_SECONDS = 0.05

# Children outlive the call that started them; the handles stay here so that the end of one is
# reaped and its exit code known for as long as this process lives.
_children: dict[int, subprocess.Popen[bytes]] = {}


class NotReady(Exception):
    """A process ended early or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program to run: it is up when `ready` returns without an exception.

    Without `ready` it is a task, such as a migration: it is done when it ends with exit code 0.
    `provides` are the variables that whoever comes after it needs to reach it; `after` names the
    processes that must be ready before this one starts. `run_as` is a system user, for programs
    that refuse to run as root.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[None]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    after: tuple[str, ...] = ()
    provides: Mapping[str, str] = field(default_factory=dict)
    stop: signal.Signals = signal.SIGTERM
    deadline_seconds: float = 90.0
    run_as: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A started process as any terminal can find it again.

    `created` guards the pid: a number that the system has given to another program since is never
    signalled.
    """

    name: str
    pid: int
    created: float
    stop: int
    after: tuple[str, ...]
    provides: Mapping[str, str]

    def program(self) -> psutil.Process | None:
        """The live program behind the pid; None when it has ended or the pid is someone else's."""
        child = _children.get(self.pid)
        if child is not None and child.poll() is not None:
            return None
        try:
            program = psutil.Process(self.pid)
            same = abs(program.create_time() - self.created) < 1.0
            has_ended = child is None and program.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return program if same and not has_ended else None

    def memory_bytes(self) -> int:
        program = self.program()
        try:
            return program.memory_info().rss if program is not None else 0
        except psutil.NoSuchProcess:
            return 0

    def send(self, number: int) -> None:
        """Signal the whole process group; a process that has ended is left alone."""
        if self.program() is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def spawn(process: Process, log: Path) -> Running:
    """Start in a session of its own, so that a Ctrl-C in our terminal does not reach it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = _popen(process, output)
    _children[child.pid] = child
    created = psutil.Process(child.pid).create_time()
    return Running(
        process.name, child.pid, created, process.stop, process.after, dict(process.provides)
    )


def _popen(process: Process, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 -- the command is ours
        list(process.command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **process.env},
        cwd=process.cwd,
        user=process.run_as,
        start_new_session=True,
    )


async def wait_ready(process: Process, running: Running, log: Path) -> None:
    """Poll until the probe passes; raise NotReady when the process ends or the deadline passes."""
    reasons = ["it still runs"]
    try:
        async with asyncio.timeout(process.deadline_seconds):
            while running.program() is not None:
                if process.ready is not None and await _passes(process.ready, reasons):
                    return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        reason = reasons[-1]
        message = f"{process.name} was not ready after {process.deadline_seconds:g} s ({reason})"
    else:
        code = exit_code(running)
        if process.ready is None and code == 0:
            return
        message = f"{process.name} ended early with exit code {code}"
    raise NotReady(f"{message}. End of {log}:\n{tail(log)}")


async def _passes(ready: Callable[[], Awaitable[None]], reasons: list[str]) -> bool:
    try:
        await ready()
    except Exception as error:  # noqa: BLE001 -- any failure means: not yet
        reasons.append(f"{type(error).__name__}: {error}")
        return False
    return True


def exit_code(running: Running) -> int | None:
    """Its exit code; None when another terminal started it and only that one can know."""
    child = _children.get(running.pid)
    return child.poll() if child is not None else None


def tail(log: Path) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


async def end(running: Sequence[Running], grace_seconds: float) -> None:
    """Stop these together: each by its own stop signal, and by SIGKILL after the grace."""
    for one in running:
        one.send(one.stop)
    if await _all_ended(running, grace_seconds):
        return
    for one in running:
        one.send(signal.SIGKILL)
    if not await _all_ended(running, 10.0):
        left = ", ".join(f"{one.name} (pid {one.pid})" for one in running if one.program())
        raise RuntimeError(f"the system does not end {left}")


async def _all_ended(running: Sequence[Running], seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while any(one.program() for one in running):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def answers(url: str, **client: object) -> Callable[[], Awaitable[None]]:
    """A probe: GET `url` gives a 2xx. `client` are httpx client options such as `auth`."""

    async def probe() -> None:
        async with httpx.AsyncClient(timeout=5.0, **client) as http:  # type: ignore[arg-type]
            (await http.get(url)).raise_for_status()

    return probe


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
