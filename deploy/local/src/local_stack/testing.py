"""Pytest fixtures over real servers: `pytest_plugins = ["local_stack.testing"]`.

One Kafka, PostgreSQL, Flowable and identity provider serve a whole test run, all its xdist workers
included. Each starts when the first test asks for it, in a fresh folder, and the process that
began the run stops them. A server comes from `KAFKA_BOOTSTRAP_SERVERS` or `POSTGRES_DSN` if set,
else from Docker if an engine answers, else from the wheels and jars.

`own_kafka`, `own_postgres` and `own_flowable` start a server for one test module: tests that stop,
kill or pause a server ask for those and disturb nobody.
"""

import asyncio
import json
import os
import shutil
import signal
import uuid
from collections.abc import Coroutine, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest
from _pytest.nodeid import NodeId

from local_stack import postgres as pg
from local_stack.container import engine_answers
from local_stack.container import process as container_process
from local_stack.places import CACHE
from local_stack.room import Options
from local_stack.stack import ELSEWHERE, Stack

_RUNS = CACHE / "test-stack"
_FOLDER = "TONGLU_TEST_STACK"
# The second compiler makes a long run faster and a start slower; tests are mostly starts.
_QUICK_JAVA = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_OPTIONS = Options(durable=False, kafka_java=_QUICK_JAVA)
_BEGAN_HERE = pytest.StashKey[Path]()

PASSWORD = "for-tests-only"  # noqa: S105 -- servers on loopback
PEOPLE: tuple[Mapping[str, object], ...] = (
    {"id": "oa-admin", "name": "OA 管理员", "roles": [], "groups": ["admin"]},
    {"id": "lin", "name": "林一", "roles": ["employee"], "groups": ["sales"]},
    {"id": "chen", "name": "陈立", "roles": ["employee", "approver"], "groups": ["sales"]},
    {"id": "zhou", "name": "周敏", "roles": ["employee", "finance"], "groups": ["finance"]},
    {"id": "admin", "name": "管理员", "roles": ["employee", "admin"], "groups": ["it"]},
)
CLIENTS: tuple[Mapping[str, object], ...] = (
    {"client_id": "finance-subscriber", "roles": ["finance"]},
    {"client_id": "tonglu-cli", "roles": ["admin", "auditor", "finance", "monitor"]},
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """The program behind an address, for tests that disturb it; `stack` is None if not ours."""

    name: str
    stack: Stack | None

    async def start(self) -> None:
        """Bring it up again at the same address; return when it is ready."""
        await self._ours().up([self.name], elsewhere={})

    async def stop(self, number: signal.Signals | None = None) -> None:
        """Stop it the orderly way, or by a signal, and wait until it has ended."""
        await self._ours().stop(self.name, number)

    async def kill(self) -> None:
        """SIGKILL: no goodbye to clients, nothing flushed."""
        await self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._ours().signal(self.name, signal.SIGSTOP)

    def resume(self) -> None:
        self._ours().signal(self.name, signal.SIGCONT)

    def _ours(self) -> Stack:
        if self.stack is None:
            pytest.skip(f"this {self.name} was not started here, so no test may stop it")
        return self.stack


@dataclass(frozen=True, slots=True)
class Kafka:
    bootstrap_servers: str
    server: Server


@dataclass(frozen=True, slots=True)
class Postgres:
    """`dsn` is that of the administrator, to the database `postgres`."""

    dsn: str
    server: Server

    async def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, a copy of `template` if one is named; return its DSN."""
        return await pg.create_database(self.dsn, name, template)

    async def drop_database(self, name: str) -> None:
        """Drop it even while clients are connected."""
        await pg.drop_database(self.dsn, name)

    async def stop_immediate(self) -> None:
        """SIGQUIT: every connection breaks, and recovery runs at the next start."""
        await self.server.stop(signal.SIGQUIT)

    async def start(self) -> None:
        await self.server.start()


@dataclass(frozen=True, slots=True)
class Flowable:
    """The OA's address, without `/process-api`, and its administrator; PEOPLE may sign in too."""

    url: str
    admin: tuple[str, str]
    server: Server


@dataclass(frozen=True, slots=True)
class Identity:
    """The issuer; it knows PEOPLE and CLIENTS."""

    issuer: str
    server: Server

    async def token(self, client_id: str, client_secret: str = PASSWORD) -> str:
        """An access token for a machine, by client credentials."""
        async with httpx.AsyncClient(timeout=10) as http:
            found = await http.get(f"{self.issuer}/.well-known/openid-configuration")
            reply = await http.post(
                found.raise_for_status().json()["token_endpoint"],
                data={"grant_type": "client_credentials"},
                auth=(client_id, client_secret),
            )
        return str(reply.raise_for_status().json()["access_token"])


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    address, server = _shared("kafka")
    return Kafka(address["KAFKA_BOOTSTRAP_SERVERS"], server)


@pytest.fixture(scope="session")
def postgres() -> Postgres:
    address, server = _shared("postgres")
    return Postgres(address["POSTGRES_DSN"], server)


@pytest.fixture(scope="session")
def flowable() -> Flowable:
    address, server = _shared("flowable")
    return Flowable(address["FLOWABLE_URL"], ("oa-admin", PASSWORD), server)


@pytest.fixture(scope="session")
def identity() -> Identity:
    address, server = _shared("identity")
    return Identity(address["OIDC_ISSUER"], server)


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[Kafka]:
    yield from (Kafka(a["KAFKA_BOOTSTRAP_SERVERS"], server) for a, server in _own("kafka"))


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    yield from (Postgres(a["POSTGRES_DSN"], server) for a, server in _own("postgres"))


@pytest.fixture(scope="module")
def own_flowable() -> Iterator[Flowable]:
    for address, server in _own("flowable"):
        yield Flowable(address["FLOWABLE_URL"], ("oa-admin", PASSWORD), server)


def pytest_configure(config: pytest.Config) -> None:
    """Name this run's folder for all its workers; a pytest inside a test shares its parent's."""
    if _FOLDER in os.environ:
        return
    _sweep()
    me = psutil.Process()
    folder = _RUNS / f"{me.pid}-{int(me.create_time())}"
    os.environ[_FOLDER] = str(folder)
    config.stash[_BEGAN_HERE] = folder


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Keep a module's tests on one worker when they have a server of their own."""
    for item in items:
        if {"own_kafka", "own_postgres", "own_flowable"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(f"own {item.path}"))
    yield
    if config.getoption("loadgroup", default=False):
        for item in items:
            _name_group(item)


def _name_group(item: pytest.Item) -> None:
    """Name its group: xdist 3.8 does it by `@` in an id that pytest 9.2 no longer reads."""
    mark = item.get_closest_marker("xdist_group")
    if mark is not None and "@" not in item.nodeid.rpartition("]")[2]:
        item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")  # noqa: SLF001 -- no other way


def pytest_unconfigure(config: pytest.Config) -> None:
    """Whoever began the run ends its servers, after all workers have left."""
    folder = config.stash.get(_BEGAN_HERE, None)
    if folder is not None:
        del os.environ[_FOLDER]
        _remove(folder)


def _shared(part: str) -> tuple[Mapping[str, str], Server]:
    folder = Path(os.environ[_FOLDER])
    people, clients = _company(folder)
    stack = Stack(folder, replace(_OPTIONS, people_file=people, clients_file=clients))
    if part in ELSEWHERE and not os.environ.get(ELSEWHERE[part]) and engine_answers():
        process = container_process(part, stack.port(part))
        _wait(stack.up([], lambda _: [process]))
        return process.provides, Server(part, None)
    address = _wait(stack.up([part]))
    is_ours = any(status.name == part for status in stack.status())
    return address, Server(part, stack if is_ours else None)


def _company(folder: Path) -> tuple[Path, Path]:
    """The files that Flowable and the identity provider read; every worker writes them alike."""
    people, clients = folder / "people.json", folder / "clients.json"
    write_people(people)
    _write(clients, [{**client, "client_secret": PASSWORD} for client in CLIENTS])
    return people, clients


def write_people(file: Path) -> None:
    """PEOPLE as Flowable and the identity provider read them."""
    _write(file, [{**person, "password": PASSWORD} for person in PEOPLE])


def _write(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(content, ensure_ascii=False))
    draft.replace(file)


def _own(part: str) -> Iterator[tuple[Mapping[str, str], Server]]:
    folder = Path(os.environ[_FOLDER]) / f"own-{uuid.uuid4().hex[:8]}"
    people, clients = _company(folder)
    stack = Stack(folder, replace(_OPTIONS, people_file=people, clients_file=clients))
    try:
        yield _wait(stack.up([part], elsewhere={})), Server(part, stack)
    finally:
        _remove(folder)


def _sweep() -> None:
    """A run that was killed has left its servers running: end them, its process being gone."""
    for folder in _RUNS.glob("*-*"):
        pid, _, created = folder.name.partition("-")
        try:
            is_running = int(psutil.Process(int(pid)).create_time()) == int(created)
        except psutil.NoSuchProcess:
            is_running = False
        if not is_running:
            _remove(folder)


def _remove(folder: Path) -> None:
    for stack in (*folder.glob("own-*"), folder):
        if (stack / "state.json").exists():
            _wait(Stack(stack).down(grace_seconds=5.0))
    shutil.rmtree(folder, ignore_errors=True)


def _wait(work: Coroutine[None, None, T]) -> T:
    """In a loop and a thread of its own: the test's loop may or may not be running."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()
