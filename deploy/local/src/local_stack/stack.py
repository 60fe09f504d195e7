"""The public face: bring parts up, find what runs, take it down."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_stack import flowable, identity, kafka, postgres, topics
from local_stack.places import CACHE
from local_stack.process import NotReady, Process, Running, end, exit_code, spawn, tail, wait_ready
from local_stack.room import Options, Room
from local_stack.state import State

Services = Callable[[Mapping[str, str]], Sequence[Process]]

PARTS: Mapping[str, Callable[[Room], Process]] = {
    "postgres": postgres.prepare,
    "kafka": kafka.prepare,
    "identity": identity.prepare,
    "flowable": flowable.prepare,
}

# A server that already exists is used instead of a part of ours when its variable is set.
ELSEWHERE = {"kafka": "KAFKA_BOOTSTRAP_SERVERS", "postgres": "POSTGRES_DSN"}


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    pid: int
    is_running: bool
    memory_bytes: int
    provides: Mapping[str, str]
    log: Path


class Stack:
    """The processes of one folder under `.cache`; any terminal may open it again by that folder.

    `say(name, words)` is told of every step: "jars 12/92", "starting", "ready".
    """

    def __init__(
        self,
        folder: Path = CACHE / "stack",
        options: Options | None = None,
        say: Callable[[str, str], None] = lambda _name, _words: None,
    ) -> None:
        self.folder = folder.resolve()
        self.options = options or Options()
        self._state = State(self.folder)
        self._say = say

    def port(self, name: str) -> int:
        """A free port for `name`, the same at each call; for services that need theirs early."""
        with self._state.locked():
            return self._state.port(name)

    async def up(
        self,
        parts: Iterable[str] = tuple(PARTS),
        services: Services = lambda _: (),
        *,
        elsewhere: Mapping[str, str] = os.environ,
    ) -> dict[str, str]:
        """Start what does not run yet; return the variables by which everything is reached.

        `services` is called with those variables once all ports are known, and its processes
        start beside the parts, each after those it names. A part whose variable is set in
        `elsewhere` is not started. When one fails, all that this call started is stopped again.
        """
        with self._state.locked():
            started: list[Running] = []
            try:
                return await self._up(parts, services, elsewhere, started)
            except BaseException:
                await self._end(started, grace_seconds=5.0)
                raise

    async def _up(
        self,
        parts: Iterable[str],
        services: Services,
        elsewhere: Mapping[str, str],
        started: list[Running],
    ) -> dict[str, str]:
        given = {name: elsewhere[key] for name, key in ELSEWHERE.items() if elsewhere.get(key)}
        own = [name for name in parts if name not in given]
        prepared = await asyncio.gather(*(asyncio.to_thread(self._prepare, name) for name in own))
        provides = {ELSEWHERE[name]: address for name, address in given.items()}
        for process in prepared:
            provides.update(process.provides)
        await self._settle(given)
        everything = [*prepared, *services(provides)]
        await _in_order(everything, lambda process: self._start(process, started))
        return provides

    def _prepare(self, name: str) -> Process:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        self._say(name, "preparing")
        room = Room(folder, self._state.port, self.options, lambda words: self._say(name, words))
        return PARTS[name](room)

    async def _settle(self, given: Mapping[str, str]) -> None:
        """Servers that exist already need our topics and databases too."""
        if "kafka" in given:
            await topics.create_topics(given["kafka"], self.options.topics)
        if "postgres" in given:
            await postgres.ready(given["postgres"], self.options.databases)()

    async def _start(self, process: Process, started: list[Running]) -> None:
        log = self.log(process.name)
        running = self._state.alive().get(process.name)
        if running is None:
            self._say(process.name, "starting")
            running = spawn(process, log)
            started.append(running)
            self._state.record(running)
        await wait_ready(process, running, log)
        if process.ready is None:
            self._state.forget({process.name})
        self._say(process.name, "ready")

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def status(self) -> list[Status]:
        """What is on record, alive or not, in the order it started."""
        return [self._status(running) for running in self._state.recorded()]

    def _status(self, running: Running) -> Status:
        program = running.program()
        memory = program.memory_info().rss if program else 0
        log = self.log(running.name)
        return Status(running.name, running.pid, program is not None, memory, running.provides, log)

    async def watch(self) -> None:
        """Return never; raise NotReady as soon as a process of the stack ends by itself."""
        while True:
            for running in self._state.recorded():
                if running.program() is None:
                    log = self.log(running.name)
                    code = exit_code(running)
                    raise NotReady(
                        f"{running.name} ended with exit code {code}. End of {log}:\n{tail(log)}"
                    )
            await asyncio.sleep(0.5)

    async def down(self, *, grace_seconds: float = 20.0) -> None:
        """Stop everything, the last started first, whoever started it."""
        with self._state.locked():
            await self._end(self._state.recorded(), grace_seconds)

    async def stop(
        self, name: str, number: int | None = None, *, grace_seconds: float = 20.0
    ) -> None:
        """Stop one process, by its own stop signal or by `number`."""
        with self._state.locked():
            running = [one for one in self._state.recorded() if one.name == name]
            for one in running:
                one.send(number or one.stop)
            await self._end(running, grace_seconds)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one process and let it stay on record: SIGSTOP and SIGCONT."""
        self._state.alive()[name].send(number)

    async def _end(self, running: Sequence[Running], grace_seconds: float) -> None:
        left = list(running)
        while left:
            needed = {name for one in left for name in one.after}
            last = [one for one in left if one.name not in needed] or left
            for one in last:
                self._say(one.name, "stopping")
            await end(last, grace_seconds)
            self._state.forget({one.name for one in last})
            left = [one for one in left if one not in last]


async def _in_order(
    processes: Sequence[Process], start: Callable[[Process], Coroutine[None, None, None]]
) -> None:
    """Start all at once, each as soon as those it comes after are ready."""
    is_ready = {process.name: asyncio.Event() for process in processes}

    async def one(process: Process) -> None:
        for name in process.after:
            if name in is_ready:
                await is_ready[name].wait()
        await start(process)
        is_ready[process.name].set()

    try:
        async with asyncio.TaskGroup() as tasks:
            for process in processes:
                tasks.create_task(one(process))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
