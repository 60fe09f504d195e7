"""The relay's drain rate, beside a bare aiokafka batch producer of the same bytes and beside
faststream-outbox, which lives in an environment of its own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import raw
from chassis.relay import Relay
from events.claims import CLAIM
from facts import Record, key, record, submitted
from harness import Figure, interleave
from local_stack.places import CACHE
from servers import Servers

EVENTS = 40_000
KEYS = 2_000
FASTSTREAM_EVENTS = 1_500
_RECIPE = Path(__file__).parent / "faststream"
_PLACE = CACHE / "bench-faststream"


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_relay")
    other_dsn, _ = await at.database("bench_faststream")
    records = [record(submitted(key(n % KEYS)), n // KEYS + 1) for n in range(EVENTS)]
    python = await asyncio.to_thread(_faststream)

    async def produce() -> float:
        began = time.perf_counter()
        await raw.produce(at.bootstrap, CLAIM.name, records)
        return EVENTS / (time.perf_counter() - began)

    async def drain() -> float:
        await database.pool.execute("TRUNCATE outbox, outbox_head")
        for start in range(0, EVENTS, 1000):
            async with database.transaction() as tx:
                for number in range(start, start + 1000):
                    tx.emit(submitted(key(number % KEYS)))
        await database.pool.execute("VACUUM ANALYZE outbox")
        relay = Relay(database, dsn, at.bootstrap, name="bench")
        running = asyncio.create_task(relay.run())
        while not relay.leading:
            await asyncio.sleep(0.001)
        began = time.perf_counter()
        await relay.drain()
        seconds = time.perf_counter() - began
        await running
        return EVENTS / seconds

    async def faststream() -> float:
        return await _drain_faststream(python, other_dsn, at.bootstrap, records)

    rates = await interleave(
        "relay", {"raw batches": produce, "relay": drain, "faststream-outbox": faststream}
    )
    mine, theirs = rates["relay"], rates["faststream-outbox"]
    return [
        Figure("relay drain", "events/s", "raw batch produce", 0.40, rates["raw batches"], mine),
        Figure("relay drain", "events/s", "faststream-outbox 0.19.0", 10.0, theirs, mine),
    ], {}


def _faststream() -> Path:
    """Its environment, made anew when the requirements have changed."""
    uv, python = Path(sys.executable).with_name("uv"), _PLACE / "bin" / "python"
    wanted = _RECIPE / "requirements.txt"
    mark = _PLACE / "requirements.txt"
    if not mark.exists() or mark.read_bytes() != wanted.read_bytes():
        cache = {"UV_CACHE_DIR": str(CACHE / "uv"), **os.environ}
        for step in (
            ("venv", "--quiet", "--clear", "--python", sys.executable, _PLACE),
            ("pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", wanted),
        ):
            subprocess.run([uv, *step], check=True, env=cache)
        mark.write_bytes(wanted.read_bytes())
    return python


async def _drain_faststream(python: Path, dsn: str, bootstrap: str, records: list[Record]) -> float:
    program = await asyncio.create_subprocess_exec(
        *(python, _RECIPE / "drain.py", dsn, bootstrap, CLAIM.name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    rows = [
        {"key": name, "headers": {n: v.decode() for n, v in headers}, "value": value.decode()}
        for name, headers, value in records[:FASTSTREAM_EVENTS]
    ]
    said, _ = await program.communicate(json.dumps(rows).encode())
    if program.returncode:
        raise RuntimeError(f"drain.py ended with {program.returncode}")
    return FASTSTREAM_EVENTS / float(said)
