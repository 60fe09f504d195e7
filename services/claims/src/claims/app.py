"""The composition root: settings, policy from its file, routes, subscriptions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from chassis import Database
from chassis.service import Loop, Service

from claims.api import REFUSALS, ROUTERS
from claims.consumer import SUBSCRIPTIONS
from claims.policy import handlers as policy_handlers
from claims.policy.domain import LimitRule, parse_limits
from claims.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def service() -> Service:
    settings = Settings.load()
    return Service(
        name="claims",
        settings=settings,
        migrations=MIGRATIONS,
        routers=ROUTERS,
        refusals=REFUSALS,
        subscriptions=SUBSCRIPTIONS,
        loops=[_import_once(parse_limits(settings.limits_path.read_text(encoding="utf-8")))],
    )


def _import_once(rules: Sequence[LimitRule]) -> Loop:
    async def import_limits(database: Database, draining: asyncio.Event) -> None:
        async with database.transaction() as tx:
            await policy_handlers.import_limits(tx, rules)
        await draining.wait()

    return import_limits
