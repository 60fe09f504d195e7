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
_PULSE_SECONDS = 10.0  # at most, between two signs of life


@dataclass(slots=True)
class Probe:
    """The probe of one OA; it also writes down how the OA fares, and forgets old callbacks.

    Whatever breaks here is logged and tried again: it ends neither the loops of this OA nor
    those of the others.
    """

    tenant: TenantId
    oa: ApprovalPort
    pace: Pace
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def soon(self) -> None:
        """Do not wait for the next round; one strange row after the other asks once a minute."""
        self.wanted.set()

    async def run(self, database: Database, draining: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulse(database, draining))
            watch = group.create_task(self._watch(draining))
            while not draining.is_set():
                self.wanted.clear()
                is_done = await self.once(database)
                await self._beat(database)  # the first one has no row to stand in before that
                await pause(draining, self.pace.probe_again)
                if is_done:
                    await pause(self.wanted, self.pace.probe_every)
            await watch

    async def once(self, database: Database) -> bool:
        """Ask now and keep what it said; False: it did not answer, or nothing could be kept."""
        asked = await self._ask()
        try:
            async with database.transaction() as tx:
                if isinstance(asked, ProbeReport):
                    await handlers.record_probe(tx, self.tenant, asked, self.oa.capabilities)
                else:
                    await store.save_silence(tx, self.tenant, asked)
                await store.forget_callbacks(tx, tx.now - self.pace.keep_callbacks)
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
            return False
        except Exception:
            log.exception("probe not kept", tenant=self.tenant)
            return False
        return isinstance(asked, ProbeReport)

    async def _ask(self) -> ProbeReport | str:
        """What the OA reports, or why it does not."""
        try:
            report = await self.pace.within(self.oa.probe())
        except OAError as silence:
            log.warning("oa silent to a probe", tenant=self.tenant, error=str(silence))
            return silence.told
        except Exception as broken:
            log.exception("probe failed", tenant=self.tenant)
            return f"the probe failed: {type(broken).__name__}"
        log.info("oa probed", tenant=self.tenant, version=report.version)
        return report

    async def _watch(self, draining: asyncio.Event) -> None:
        await draining.wait()
        self.wanted.set()

    async def _pulse(self, database: Database, draining: asyncio.Event) -> None:
        """Breaker and clock as they are now, for whoever looks; and whether it still knows us."""
        while not draining.is_set():
            await self._beat(database)
            if self.oa.refuses_us:
                self.soon()
            await pause(draining, min(self.pace.poll * 10, _PULSE_SECONDS))

    async def _beat(self, database: Database) -> None:
        try:
            async with database.transaction() as tx:
                await store.save_pulse(tx, self.tenant, self.oa.breaker, self.oa.clock_offset)
        except AWAY as away:
            log.warning("database away", error=type(away).__name__)
        except Exception:
            log.exception("pulse not kept", tenant=self.tenant)
