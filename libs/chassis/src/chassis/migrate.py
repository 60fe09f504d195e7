"""Migrations: dbmate's SQL files, the chassis's beside the service's, under one advisory lock."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

CHASSIS = Path(__file__).parent / "migrations"
_LOCK = 7_046_029_254_386_353_131  # any constant; shared by every migrating process of a database
_WAIT_SECONDS = 120.0


class MigrationError(RuntimeError):
    """dbmate refused; its own words are the message."""


def _dbmate_url(dsn: str) -> str:
    # dbmate insists on TLS unless told otherwise; a Unix socket and loopback have none.
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    query.setdefault("sslmode", "disable")
    # A migration that cannot get its lock soon gives up, rather than queue every writer behind it.
    query.setdefault("lock_timeout", "5000")
    return urlunsplit(parts._replace(scheme="postgres", query=urlencode(query, safe="/")))


async def migrate(dsn: str, directories: Sequence[Path]) -> None:
    """Create the database where it is missing and apply what is pending.

    Raises:
        MigrationError: a file could not be applied; nothing of it was.
    """
    if not await _exists(dsn):
        await _dbmate(dsn, directories, "create")
    async with _alone(dsn):
        await _dbmate(dsn, directories, "migrate")


async def pending(dsn: str, directories: Sequence[Path]) -> list[str]:
    """The versions that the database lacks; all of them where it was never migrated."""
    wanted = {
        file.name.partition("_")[0] for folder in directories for file in folder.glob("*.sql")
    }
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except asyncpg.InvalidCatalogNameError:
        return sorted(wanted)
    try:
        rows = await connection.fetch("SELECT version FROM schema_migrations")
    except asyncpg.UndefinedTableError:
        return sorted(wanted)
    finally:
        await connection.close()
    return sorted(wanted - {row["version"] for row in rows})


async def wait_until_migrated(dsn: str, directories: Sequence[Path]) -> None:
    """Return once nothing is pending: what a pod does before it starts.

    Raises:
        TimeoutError: two minutes have passed; the message names what is missing.
    """
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while missing := await pending(dsn, directories):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"migrations still missing: {', '.join(missing)}")
        await asyncio.sleep(0.5)


async def _exists(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except asyncpg.InvalidCatalogNameError:
        return False
    await connection.close()
    return True


@asynccontextmanager
async def _alone(dsn: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        yield
    finally:
        await connection.close()


async def _dbmate(dsn: str, directories: Sequence[Path], command: str) -> None:
    folders = [part for folder in directories for part in ("--migrations-dir", str(folder))]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("dbmate")),
        *("--url", _dbmate_url(dsn), "--no-dump-schema", *folders, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise MigrationError(f"dbmate {command}: {output.decode(errors='replace').strip()}")
