"""What runs, written to a file: a second `up` finds it, and `down` works from any terminal."""

import fcntl
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from local_stack.process import Running, free_port


class _Content(TypedDict):
    processes: list[dict[str, Any]]
    ports: dict[str, int]


class State:
    """`state.json` in the stack's folder: the processes in the order they started, and the ports.

    Ports are kept after `down`, so that addresses stay the same from one `up` to the next.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"
        self._is_locked = False
        self._writing = threading.RLock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One terminal or test worker changes the stack at a time; others wait here.

        Inside a locked block of the same State it may be entered again.
        """
        if self._is_locked:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def recorded(self) -> list[Running]:
        """Every process on record, alive or not."""
        return [
            Running(**{**entry, "after": tuple(entry["after"])})
            for entry in self._read()["processes"]
        ]

    def alive(self) -> dict[str, Running]:
        return {one.name: one for one in self.recorded() if one.program() is not None}

    def record(self, running: Running) -> None:
        """Add a process, in place of an earlier one of that name."""
        with self._writing:
            content = self._read()
            others = [entry for entry in content["processes"] if entry["name"] != running.name]
            self._write({**content, "processes": [*others, asdict(running)]})

    def forget(self, names: set[str]) -> None:
        with self._writing:
            content = self._read()
            kept = [entry for entry in content["processes"] if entry["name"] not in names]
            self._write({**content, "processes": kept})

    def port(self, name: str) -> int:
        """The port that belongs to `name`: the same as last time, unless a stranger took it."""
        with self._writing:
            content = self._read()
            port: int | None = content["ports"].get(name)
            owner, _, _ = name.partition(".")
            if port is None or (owner not in self.alive() and not _is_free(port)):
                port = free_port()
                self._write({**content, "ports": {**content["ports"], name: port}})
            return port

    def _read(self) -> _Content:
        if not self._file.exists():
            return {"processes": [], "ports": {}}
        content: _Content = json.loads(self._file.read_text())
        return content

    def _write(self, content: _Content) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(content, indent=2, default=dict))
        draft.replace(self._file)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
