"""Asking an OA what it is: at start, every few hours, and when an answer looked strange."""

import asyncio
from dataclasses import dataclass, field

import structlog
from chassis import Database
from chassis.db import AWAY
from events import TenantId

from oa_connector import handlers, store
from oa_connector.delivery.pace import Pace, pause
from oa_connector.domain import ProbeReport
from oa_connector.vendors import ApprovalPort, OAError

log = structlog.get_logger()


@dataclass(slots=True)
class Probe:
    """The probe of one OA; it also writes down how the OA fares, and forgets old callbacks."""

    tenant: TenantId
    oa: ApprovalPort
    pace: Pace
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def soon(self) -> None:
        """Do not wait for the next round."""
        self.wanted.set()

    async def run(self, database: Database, draining: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulse(database, draining))
            watch = group.create_task(self._watch(draining))
            while not draining.is_set():
                self.wanted.clear()
                is_done = await self._once(database)
                wait = self.pace.probe_every if is_done else self.pace.probe_again
                await pause(self.wanted, wait)
            await watch

    async def _watch(self, draining: asyncio.Event) -> None:
        await draining.wait()
        self.wanted.set()

    async def _once(self, database: Database) -> bool:
        report: ProbeReport | None = None
        error = ""
        try:
            report = await self.pace.within(self.oa.probe())
        except OAError as silence:
            error = str(silence)
        log.info("oa probed", tenant=self.tenant, version=report and report.version, error=error)
        try:
            async with database.transaction() as tx:
                if report is None:
                    await store.save_silence(tx, self.tenant, error)
                else:
                    await handlers.record_probe(tx, self.tenant, report, self.oa.capabilities)
                await store.forget_callbacks(tx, tx.now - self.pace.keep_callbacks)
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
            return False
        return report is not None

    async def _pulse(self, database: Database, draining: asyncio.Event) -> None:
        """Breaker and clock as they are now, for whoever looks."""
        while not draining.is_set():
            try:
                async with database.transaction() as tx:
                    await store.save_pulse(tx, self.tenant, self.oa.breaker, self.oa.clock_offset)
            except AWAY as away:
                log.warning("database away", error=type(away).__name__)
            await pause(draining, self.pace.poll * 10)
