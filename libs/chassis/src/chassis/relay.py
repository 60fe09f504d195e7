"""Publishes the outbox: one leader per database, every other process stands by."""

import asyncio
import contextlib
import random
from datetime import datetime
from time import monotonic, time

import asyncpg
import structlog
from pydantic_core import from_json

from chassis import metrics, outbox, upkeep
from chassis.db import AWAY, Database
from chassis.failpoints import failpoint
from chassis.outbox import Cursor, Page
from chassis.pace import rest
from chassis.publisher import Prepared, Publisher

log = structlog.get_logger()
_BUSY_SECONDS = 0.005
_IDLE_SECONDS = 0.1
_STANDBY_SECONDS = 0.5
_HINT_SECONDS = 0.02
_MAX_BACKOFF_SECONDS = 10.0


_AWAY: tuple[type[Exception], ...] = (*AWAY, outbox.RestoredError)


class _LeadershipLostError(ConnectionError):
    """The session that holds the lock has gone; another process may lead already."""


class Relay:
    """Elects itself by a session lock, follows the snapshot cursor, awaits every delivery.

    A hint from a commit wakes it; without hints it finds everything by polling.
    """

    def __init__(
        self, database: Database, dsn: str, kafka_bootstrap_servers: str, *, name: str
    ) -> None:
        self.leading = False
        self._database = database
        self._dsn = dsn
        self._name = name
        self._publisher = Publisher(kafka_bootstrap_servers, name)
        self._draining = False
        self._is_last_look = False
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._oldest_at: float | None = None

    def wake(self) -> None:
        """Say that a transaction of this process has committed facts."""
        self._awake.set()

    async def drain(self) -> None:
        """Publish what is there if this process leads, then let another one lead."""
        self._draining = True
        self.wake()
        await self._idle.wait()

    async def run(self) -> None:
        """Lead or stand by until drained; an interruption ends the lead, never the relay."""
        self._idle.clear()
        metrics.OUTBOX_OLDEST_SECONDS.set_function(self._oldest_seconds)
        backoff = 0.1
        try:
            while not self._draining:
                try:
                    await self._serve()
                    backoff = 0.1
                except Exception as error:  # noqa: BLE001 -- whatever it is, the next try may pass
                    _tell(error)
                    await self._wait(random.uniform(backoff / 2, backoff))  # noqa: S311
                    backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)
        finally:
            self._idle.set()

    async def _serve(self) -> None:
        session = await outbox.connect(self._dsn, self._name)
        try:
            if await self._elected(session):
                await self._lead_while_connected(session)
        finally:
            session.terminate()  # the server releases the lock

    async def _elected(self, session: asyncpg.Connection) -> bool:
        """Stand by, passing hints on to whoever leads; False when draining."""
        while not self._draining:
            if await outbox.try_lead(session):
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STANDBY_SECONDS):
                    while True:
                        await self._awake.wait()
                        self._awake.clear()
                        if self._draining:
                            return False
                        await outbox.hint(session)
                        await asyncio.sleep(_HINT_SECONDS)
        return False

    async def _lead_while_connected(self, session: asyncpg.Connection) -> None:
        lead = asyncio.ensure_future(self._lead(session))

        def stop_at_once(_: object) -> None:
            lead.cancel()

        session.add_termination_listener(stop_at_once)
        self.leading = True
        metrics.RELAY_LEADING.set(1)
        log.info("relay leads")
        try:
            await lead
        except asyncio.CancelledError:
            if session.is_closed():
                raise _LeadershipLostError("connection lost") from None
            raise
        finally:
            lead.cancel()
            self.leading = False
            self._oldest_at = None
            metrics.RELAY_LEADING.set(0)
            await self._publisher.close()
            log.info("relay leads no more")

    async def _lead(self, session: asyncpg.Connection) -> None:
        reader = await outbox.connect(self._dsn, self._name)
        tidying = asyncio.ensure_future(upkeep.run(self._database))
        try:
            await session.add_listener("outbox", lambda *_: self.wake())
            await self._follow(session, reader)
        finally:
            reader.terminate()
            tidying.cancel()
            await asyncio.gather(tidying, return_exceptions=True)

    async def _follow(self, session: asyncpg.Connection, reader: asyncpg.Connection) -> None:
        """Publish page after page until drained."""
        pause = _BUSY_SECONDS
        page, prepared = await self._read(reader, await outbox.cursor(session))
        while not (page.is_idle and self._is_last_look):
            self._note_oldest(page)
            if page.after.open is not None:
                page, prepared = await self._publish_and_read(session, reader, page, prepared)
                continue
            if page.is_idle:
                await self._wait(pause)
                pause = min(pause * 2, _IDLE_SECONDS)
            else:
                began = monotonic()
                await self._publish(session, page, prepared)
                await asyncio.sleep(rest(len(page.rows), monotonic() - began))
                pause = _BUSY_SECONDS
            page, prepared = await self._read(reader, page.after)

    async def _publish_and_read(
        self,
        session: asyncpg.Connection,
        reader: asyncpg.Connection,
        page: Page,
        prepared: Prepared,
    ) -> tuple[Page, Prepared]:
        """In a backlog the next page is read and laid out while this one is on its way.

        Not at its end: what is committed meanwhile would wait for a page more.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(session, page, prepared))
                following = group.create_task(self._read(reader, page.after))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return following.result()

    async def _publish(self, session: asyncpg.Connection, page: Page, prepared: Prepared) -> None:
        await failpoint("relay.before_send")
        refused = await self._publisher.publish(prepared)
        await failpoint("relay.after_ack_before_cursor")
        await outbox.save(session, page.after, refused)

    async def _read(self, reader: asyncpg.Connection, at: Cursor) -> tuple[Page, Prepared]:
        self._awake.clear()  # a commit from here on may be missing in the page
        self._is_last_look = self._draining
        page = await outbox.read(reader, at)
        return page, await self._publisher.prepare(page.rows)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    def _note_oldest(self, page: Page) -> None:
        if not page.rows:
            self._oldest_at = None
            return
        said = from_json(page.rows[0]["headers"])["ce_time"]
        self._oldest_at = datetime.fromisoformat(said).timestamp()

    def _oldest_seconds(self) -> float:
        return 0.0 if self._oldest_at is None else max(0.0, time() - self._oldest_at)


def _tell(error: Exception) -> None:
    metrics.OUTBOX_ERRORS.labels(type(error).__name__).inc()
    trace = None if isinstance(error, _AWAY) else error
    log.warning("relay interrupted", error=type(error).__name__, reason=str(error), exc_info=trace)
