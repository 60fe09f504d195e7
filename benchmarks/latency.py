"""From the commit of a fact to its handler in another process, at 200 events a second.

Beside it a ping: the same client settings, from before `send` to the record in a bare consumer.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from chassis import kafka
from chassis.relay import Relay
from events import ClaimId, EmployeeId
from events.claims import ClaimWithdrawn
from facts import AT
from harness import Figure, interleave
from servers import Servers

PER_SECOND = 200
SECONDS = 10
_ARRIVE_SECONDS = 60
_PING = "bench.ping"
Write = Callable[[str], Awaitable[int]]  # returns the moment that counts, in ns


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    dsn, database = await at.database("bench_writer")
    reader_dsn, _ = await at.database("bench_reader")
    relay = Relay(database, dsn, at.bootstrap, name="bench")
    database.on_facts = relay.wake
    database.acquire_timeout = _ARRIVE_SECONDS  # a slow machine gives a bad figure, not an error
    producer = kafka.new_producer(at.bootstrap, client_id="bench")

    async def commit(key: str) -> int:
        async with database.transaction() as tx:
            tx.emit(_fact(key))
        return time.monotonic_ns()

    async def send(key: str) -> int:
        began = time.monotonic_ns()
        value = _fact(key).model_dump_json().encode()
        await producer.send(_PING, value, key=key.encode())
        return began

    await at.topic(_PING)
    places = (at.bootstrap, reader_dsn, _PING)
    running = asyncio.create_task(relay.run())
    await producer.start()
    measured = await interleave(
        "latency",
        {
            "ping p50/p99 ms": lambda: _run(send, "ping", *places),
            "handler p50/p99 ms": lambda: _run(commit, "handler", *places),
        },
    )
    await producer.stop()
    await relay.drain()
    await running
    return _figures(*measured.values()), {}


def _figures(pings: list[tuple[float, float]], handlers: list[tuple[float, float]]) -> list[Figure]:
    def figure(which: int, name: str, goal: float, at_most: float | None) -> Figure:
        return Figure(
            f"commit to handler, {name}",
            "ms",
            f"produce to consume, {name}",
            goal,
            [one[which] for one in pings],
            [one[which] for one in handlers],
            lower_is_better=True,
            at_most=at_most,
        )

    return [figure(0, "p50", 3.0, None), figure(1, "p99", 4.0, 60.0)]


def _fact(key: str) -> ClaimWithdrawn:
    return ClaimWithdrawn(
        claim_id=ClaimId(key), revision=1, employee_id=EmployeeId("E1001"), withdrawn_at=AT
    )


async def _run(write: Write, *reader: str) -> tuple[float, float]:
    async with _reader(*reader) as output:
        written = await _write_steadily(write, str(uuid4()))
        async with asyncio.timeout(_ARRIVE_SECONDS):
            arrived = json.loads(await output.read())
    milliseconds = [(arrived[key] - began) / 1e6 for key, began in written.items()]
    return statistics.median(milliseconds), statistics.quantiles(milliseconds, n=100)[98]


@asynccontextmanager
async def _reader(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """The other process, once it is in its group; what it prints."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("reader.py"), *arguments),
        str(PER_SECOND * SECONDS),
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    assert program.stdout is not None
    try:
        if await program.stdout.readline() != b"ready\n":
            raise RuntimeError("the reader did not start")
        yield program.stdout
    finally:
        if program.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                program.terminate()
        await program.wait()


async def _write_steadily(write: Write, mark: str) -> dict[str, int]:
    """One write every 5 ms, whether or not the one before has ended."""
    written: dict[str, int] = {}

    async def one(key: str) -> None:
        written[key] = await write(key)

    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(PER_SECOND * SECONDS):
            await asyncio.sleep(max(0, began + number / PER_SECOND - loop.time()))
            group.create_task(one(f"{mark}-{number}"))
    return written
