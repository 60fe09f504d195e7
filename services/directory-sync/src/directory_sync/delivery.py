"""Follow the source without being asked: read it, apply it when it has changed, record refusals."""

import asyncio
import contextlib
from dataclasses import dataclass

import structlog
from chassis import Database

from directory_sync import handlers, store
from directory_sync.domain.plan import AnotherRunIsOn, Order, Threshold
from directory_sync.domain.snapshot import Reading
from directory_sync.sources import Source

log = structlog.get_logger()
_SOON_SECONDS = 2.0  # until the next try of what could not be settled


@dataclass(frozen=True, slots=True)
class Follower:
    """`every`: seconds between looks; None: one look at the start and no more.

    A content that was tried is not tried again: what was refused waits for a person.
    """

    source: Source
    threshold: Threshold
    at_start: bool = False
    every: float | None = None

    async def follow(self, database: Database, draining: asyncio.Event) -> None:
        """Until the service drains. A database that is away is tried again at the next look."""
        settled = None if self.at_start else (await self.source.read()).digest
        while not draining.is_set():
            reading = await self.source.read()
            if reading.digest != settled and await self._settle(database, reading):
                settled = reading.digest
            pause = self.every if reading.digest == settled else _SOON_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), pause)

    async def _settle(self, database: Database, reading: Reading) -> bool:
        """Whether this content is applied, or refused and waiting for a person."""
        run = store.Run("directory-sync", self.source.name, reading.digest)
        try:
            return await self._apply(database, reading, run)
        except AnotherRunIsOn:
            log.info("directory busy")
        except Exception:
            log.exception("directory not applied")
        return False

    async def _apply(self, database: Database, reading: Reading, run: store.Run) -> bool:
        try:
            async with database.transaction() as tx:
                number, plan = await handlers.apply_snapshot(
                    tx, reading, Order(), self.threshold, run
                )
            log.info("directory applied", run_id=number, counts=plan.counts)
        except handlers.Refused as error:
            async with database.transaction() as tx:
                await handlers.record_refusal(tx, run, error)
            log.warning("directory refused", reason=type(error).__name__, detail=str(error))
        return True
