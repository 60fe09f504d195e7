"""One process of one service: its parts started together, drained together on SIGTERM."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import uvicorn
import uvloop
from fastapi import APIRouter

from chassis import logs, migrate, parked_api, telemetry
from chassis.auth import Verifier
from chassis.consumer import Consumer
from chassis.db import AWAY, Database
from chassis.http import Edge, Health, create_app
from chassis.problem import Refusals
from chassis.relay import Relay
from chassis.settings import ServiceSettings
from chassis.subscriptions import Subscription

log = structlog.get_logger()
_RESTART_SECONDS = 1.0
_COLLECT_EVERY = (500_000, 2, 2)  # new objects, collections of the young, of the middle-aged
Loop = Callable[[Database, asyncio.Event], Awaitable[None]]


def quiet_collector() -> None:
    """Let the garbage collector do what a process of batches needs, and no more.

    What is loaded by now stays, so no collection need look at it again. Four batches of 1,000
    events and what is fetched ahead of them are 400,000 objects, alive until their commit: Python's
    own pace looks through them many times and finds nothing, a quarter of a consumer's time. What
    it is there for, circles of garbage, neither a batch nor a request leaves behind.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_EVERY)


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: the service drains its parts in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class Service:
    """A service, as its `app.py` composes it.

    `loops` run beside the consumer until the event they are given is set; each takes due rows,
    calls outside and records the outcome.
    """

    name: str
    settings: ServiceSettings
    migrations: Path
    routers: Sequence[APIRouter] = ()
    public_routers: Sequence[APIRouter] = ()
    refusals: Refusals = field(default_factory=dict)
    subscriptions: Sequence[Subscription] = ()
    loops: Sequence[Loop] = ()

    def main(self) -> None:
        """`python -m <service> [migrate [--wait]]`: exits 0, or 1 with the reason in the log."""
        logs.configure(self.name, self.settings.log_level)
        match sys.argv[1:]:
            case []:
                sys.exit(uvloop.run(self.run()))
            case ["migrate"]:
                uvloop.run(migrate.migrate(self._dsn, self._directories))
            case ["migrate", "--wait"]:
                uvloop.run(migrate.wait_until_migrated(self._dsn, self._directories))
            case _:
                sys.exit(f"usage: python -m {self.name.replace('-', '_')} [migrate [--wait]]")

    @property
    def _dsn(self) -> str:
        return self.settings.postgres_dsn.get_secret_value()

    @property
    def _directories(self) -> list[Path]:
        return [migrate.CHASSIS, self.migrations]

    async def run(self) -> int:
        """Run until SIGTERM or until a part fails; the exit status."""
        if missing := await migrate.pending(self._dsn, self._directories):
            log.error("migrations pending", missing=missing, way_out="run: migrate")
            return 1
        tracing = telemetry.configure(
            self.name,
            ratio=self.settings.trace_ratio,
            endpoint=self.settings.otel_exporter_otlp_endpoint,
        )
        draining = asyncio.Event()
        for signal_ in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_, draining.set)
        database = await Database.connect(
            self._dsn,
            size=self.settings.postgres_pool_size,
            acquire_timeout=self.settings.postgres_acquire_seconds,
            command_timeout=self.settings.postgres_command_seconds,
        )
        health = Health()
        quiet_collector()
        try:
            return await _run_parts(self._parts(database, health, draining), health, draining, self)
        finally:
            await database.close()
            await asyncio.to_thread(tracing.shutdown)

    def _parts(self, database: Database, health: Health, draining: asyncio.Event) -> list["_Part"]:
        """In the order in which they drain: take no new work first, publish what is left last."""
        roles = self.settings.roles
        parts = [self._api(database, health)]
        if "loops" in roles:
            parts += [_loop(loop, database, draining) for loop in self.loops]
        if "consumer" in roles and self.subscriptions:
            consumer = Consumer(
                database, self.settings, group=self.name, subscriptions=self.subscriptions
            )
            health.checks["consumer"] = lambda: consumer.joined
            parts.append(_Part("consumer", consumer.run, consumer.drain))
        if "relay" in roles:
            relay = Relay(
                database, self._dsn, self.settings.kafka_bootstrap_servers, name=self.name
            )
            database.on_facts = relay.wake
            parts.append(_Part("relay", relay.run, relay.drain))
        return parts

    def _api(self, database: Database, health: Health) -> "_Part":
        verifier = Verifier(self.settings.oidc_issuer, self.settings.oidc_audience)
        server = _Server(
            uvicorn.Config(
                create_app(self._edge(database, verifier, health)),
                host=self.settings.http_host,
                port=self.settings.http_port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # whose address it is has no meaning here
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=int(self.settings.drain_seconds),
            )
        )

        async def drain() -> None:
            server.should_exit = True

        async def serve() -> None:
            await server.serve()
            await verifier.close()

        return _Part("api", serve, drain)

    def _edge(self, database: Database, verifier: Verifier, health: Health) -> Edge:
        serves = "api" in self.settings.roles  # without it: health and metrics only
        return Edge(
            name=self.name,
            database=database,
            verifier=verifier,
            routers=(*self.routers, parked_api.router) if serves else (),
            subscriptions=self.subscriptions,
            refusals=self.refusals,
            body_bytes=self.settings.http_body_bytes,
            health=health,
            public_routers=self.public_routers if serves else (),
        )


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    run: Callable[[], Awaitable[None]]
    drain: Callable[[], Awaitable[None]]


def _loop(loop: Loop, database: Database, draining: asyncio.Event) -> _Part:
    name = getattr(loop, "__name__", "loop")

    async def run() -> None:
        """Begin again while the database is away; any other failure ends the process."""
        while not draining.is_set():
            try:
                return await loop(database, draining)
            except AWAY as error:
                log.warning("loop interrupted", loop=name, error=type(error).__name__)
                await _at_most(draining.wait(), _RESTART_SECONDS)
        return None

    async def drain() -> None:
        draining.set()

    return _Part(name, run, drain)


async def _at_most(waiting: Awaitable[object], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, seconds)


async def _run_parts(
    parts: Sequence[_Part], health: Health, draining: asyncio.Event, service: Service
) -> int:
    tasks = {part.name: asyncio.ensure_future(part.run()) for part in parts}
    stop = asyncio.ensure_future(draining.wait())
    health.started = True
    log.info("started", port=service.settings.http_port, parts=list(tasks))
    await asyncio.wait({stop, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    failed = _failures(tasks) or (not draining.is_set())
    health.draining = True
    draining.set()
    try:
        async with asyncio.timeout(service.settings.drain_seconds):
            for part in parts:
                await part.drain()
                await asyncio.wait({tasks[part.name]})
    except TimeoutError:
        log.exception(
            "drain cut off", left=[name for name, task in tasks.items() if not task.done()]
        )
        failed = True
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    log.info("stopped", clean=not failed)
    return 1 if failed else 0


def _failures(tasks: Mapping[str, "asyncio.Future[None]"]) -> list[str]:
    failed = []
    for name, task in tasks.items():
        if task.done() and (error := task.exception()) is not None:
            log.error("part failed", part=name, exc_info=error)
            failed.append(name)
    return failed
