"""The pipeline view: claims per stage and their age, folded by Faust and thrown away at will.

It runs as its own process, `python -m notifier view`, since a Faust worker owns its event loop.
The state lies in the table `pipeline_view` and not in a Faust table: those need a changelog topic
that must exist beforehand, and replay it before they answer; here the API reads the rows by SQL,
also while this process is away. Each row remembers the last sequence that it has folded from each
side, so a message that comes again changes nothing, and the two topics may interleave as they like.

To rebuild, raise PIPELINE_GENERATION: another consumer group reads both topics from the start into
rows of its own, and the rows of earlier generations are deleted.

What Faust does not do for us: it acknowledges a message whose agent has failed or was cancelled,
so the body catches everything and is not cut off in the middle; with more than one message in
flight it commits past unfinished ones, so there is one, never `take`; its exactly-once mode is off.
No effect hangs on this view.
"""

import asyncio
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import faust
import structlog
from chassis import Database, logs
from events import Malformed, decode
from events.claims import CLAIM
from events.envelope import Envelope
from events.workflow import APPROVAL
from faust.types import EventT, StreamT
from faust.web import Request, Response, View
from prometheus_client import Counter

from notifier import handlers, store
from notifier.domain import pipeline_fact

log = structlog.get_logger()
_PAUSE_SECONDS = 1.0
_LAST_CHANCE_SECONDS = 5.0
SKIPPED = Counter("tonglu_pipeline_skipped", "Records of the pipeline view that were unreadable.")


@dataclass(slots=True)
class Fold:
    """Folds one message at a time into the rows of one generation."""

    dsn: str
    generation: int
    _database: Database | None = field(default=None, init=False)

    async def settle(self, message: EventT[bytes]) -> None:
        """Return when the message is in the view, or unreadable; in no other case.

        Faust acknowledges what a cancelled agent had in hand. Where the database is away at that
        moment the process therefore ends at once, uncommitted, and reads the message again.
        """
        work = asyncio.ensure_future(self._until_folded(message))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            done, _ = await asyncio.wait({work}, timeout=_LAST_CHANCE_SECONDS)
            if not done:
                os._exit(1)
            raise

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()

    async def _until_folded(self, message: EventT[bytes]) -> None:
        while True:
            try:
                await self._fold(message)
            except Malformed as error:
                SKIPPED.inc()
                log.warning("record skipped", reason=str(error))
            except Exception:
                log.exception("record not folded yet")
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            return

    async def _fold(self, message: EventT[bytes]) -> None:
        headers = message.headers
        pairs = headers.items() if isinstance(headers, dict) else headers or ()
        envelope = decode(pairs, message.value)
        if not isinstance(envelope, Envelope):
            return
        fact = pipeline_fact(envelope.event, envelope.sequence, envelope.time)
        if fact is None:
            return
        database = await self._connected()
        async with database.transaction() as tx:
            await handlers.fold_into_view(tx, self.generation, fact)

    async def _connected(self) -> Database:
        if self._database is None:
            database = await Database.connect(self.dsn, size=2)
            async with database.transaction() as tx:
                await store.forget_generations_before(tx, self.generation)
            self._database = database
        return self._database


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of the view: where it reads, where it writes, where its probes answer."""

    fold: Fold
    kafka_bootstrap_servers: str
    kafka_session_seconds: float
    http_host: str
    http_port: int

    def run(self, log_level: str) -> NoReturn:
        """Fold until SIGTERM, then commit, leave the group and exit 0."""
        logs.configure("notifier-view", log_level)
        worker = faust.Worker(self.app(), loglevel=log_level, override_logging=False, quiet=True)
        worker.execute_from_commandline()

    def app(self) -> faust.App:
        """The Faust application: both topics, one agent, the probes."""
        app = self._unwired()
        road = app.topic(
            CLAIM.name,
            APPROVAL.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )

        async def pipeline(stream: StreamT[bytes]) -> None:
            async for message in stream.events():
                await self.fold.settle(message)

        async def live(view: View, _request: Request) -> Response:
            return view.json({"status": "ok"})

        async def ready(view: View, _request: Request) -> Response:
            joined = bool(app.consumer.assignment())
            status = "ok" if joined else "starting"
            return view.json({"status": status}, status=200 if joined else 503)

        app.agent(road, concurrency=1)(pipeline)
        app.page("/healthz/live")(live)
        app.page("/healthz/ready")(ready)
        return app

    def _unwired(self) -> faust.App:
        """Every setting that matters, by name; the app's name is the consumer group."""
        return faust.App(
            f"notifier-pipeline-{self.fold.generation}",
            broker=[f"kafka://{server}" for server in self.kafka_bootstrap_servers.split(",")],
            autodiscover=False,
            processing_guarantee="at_least_once",
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=self.kafka_session_seconds,
            broker_heartbeat_interval=self.kafka_session_seconds / 10,
            stream_wait_empty=True,
            topic_allow_declare=False,
            topic_disable_leader=True,
            store="memory://",
            # Faust makes this folder though it keeps nothing there; not where someone has started.
            datadir=Path(tempfile.gettempdir(), f"notifier-pipeline-{self.fold.generation}"),
            web_bind=self.http_host,
            web_port=self.http_port,
            web_stats_enabled=False,
            web_graph_enabled=False,
            web_router_enabled=False,
            web_tables_enabled=False,
            web_metrics_enabled=False,
            worker_redirect_stdouts=False,
        )
