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

    A content that the last run has tried is not tried again, also after a restart: what was
    refused waits for a person. `at_start` tries it once in any case.
    """

    source: Source
    threshold: Threshold
    at_start: bool = False
    every: float | None = None

    async def follow(self, database: Database, draining: asyncio.Event) -> None:
        """Until the service drains. What could not be settled is tried again soon."""
        is_due = self.at_start
        while not draining.is_set():
            is_settled = await self._look(database, is_due=is_due)
            is_due = is_due and not is_settled
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(draining.wait(), self.every if is_settled else _SOON_SECONDS)

    async def _look(self, database: Database, *, is_due: bool) -> bool:
        """Whether the present content is applied, or refused and waiting for a person."""
        reading = await self.source.read()
        try:
            async with database.transaction() as tx:
                last = await store.last_run(tx)
            if is_due or last is None or last.source_digest != reading.digest:
                await self._apply(database, reading)
        except AnotherRunIsOn:
            log.info("directory busy")
            return False
        except Exception:
            log.exception("directory not applied")
            return False
        return True

    async def _apply(self, database: Database, reading: Reading) -> None:
        run = store.Run("directory-sync", self.source.name, reading.digest)
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
