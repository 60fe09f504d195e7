"""The services as real processes, and an issuer whose tokens they accept."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from chassis.testing import Issuer
from fastapi import FastAPI
from local_stack.places import CHECKOUT
from local_stack.process import Process, Running, answers, end, free_port, spawn, wait_ready
from servers import FOLDER, Servers

_READY_SECONDS = 60.0


def migrations(name: str) -> Any:
    return CHECKOUT / "services" / name / "migrations"


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    """Discovery and keys on loopback: read once by each service, then out of the way."""
    port = free_port()
    one = Issuer(url=f"http://127.0.0.1:{port}")
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, str]:
        return {"issuer": one.url, "jwks_uri": f"{one.url}/jwks"}

    @app.get("/jwks")
    async def jwks() -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in one.keys]}

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield one
    server.should_exit = True
    await serving


@asynccontextmanager
async def service(
    at: Servers, name: str, dsn: str, issuer_url: str, *arguments: str, **settings: str
) -> AsyncIterator[tuple[Running, int]]:
    """One process of a service, ready; its HTTP port."""
    port = free_port()
    process = Process(
        name=f"{name}-{port}",
        command=(sys.executable, *_profiler(name), "-m", name.replace("-", "_"), *arguments),
        env={
            "POSTGRES_DSN": dsn,
            "KAFKA_BOOTSTRAP_SERVERS": at.bootstrap,
            "OIDC_ISSUER": issuer_url,
            "HTTP_PORT": str(port),
            **{key.upper(): value for key, value in settings.items()},
        },
        ready=answers(f"http://127.0.0.1:{port}/healthz/{'live' if arguments else 'startup'}"),
        deadline_seconds=_READY_SECONDS,
    )
    log = FOLDER / "logs" / f"{process.name}.log"
    running = spawn(process, log)
    try:
        await wait_ready(process, running, log)
        yield running, port
    finally:
        await end([running], grace_seconds=20.0)


def cpu_seconds(running: Running) -> float:
    """What it has used so far: unlike a rate, hardly changed by who else is on the machine."""
    program = running.program()
    if program is None:
        raise RuntimeError(f"{running.name} has ended")
    used = program.cpu_times()
    return float(used.user + used.system)


def _profiler(name: str) -> tuple[str, ...]:
    """BENCH_PROFILE names a folder: each service leaves what cProfile saw of it there."""
    folder = os.environ.get("BENCH_PROFILE")
    return ("-m", "cProfile", "-o", f"{folder}/{name}.pstats") if folder else ()
