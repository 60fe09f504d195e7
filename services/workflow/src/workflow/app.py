"""The composition root: settings, definitions from their folder, routes, subscriptions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from chassis import Database, Service
from chassis.service import Loop

from workflow import handlers
from workflow.api import REFUSALS, router
from workflow.consumer import SUBSCRIPTIONS
from workflow.domain.definition import Definition, check_one_per_kind, parse_definition
from workflow.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def service() -> Service:
    settings = Settings.load()
    return Service(
        name="workflow",
        settings=settings,
        migrations=MIGRATIONS,
        routers=[router],
        refusals=REFUSALS,
        subscriptions=SUBSCRIPTIONS,
        loops=[_import_once(read_definitions(settings.definitions_dir))],
    )


def read_definitions(folder: Path) -> list[Definition]:
    """Every *.yaml file of the folder.

    Raises:
        DefinitionInvalid: a file breaks a rule, two are for one kind, or there is none.
    """
    found = {
        file.name: parse_definition(file.name, file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.yaml"))
    }
    check_one_per_kind(found)
    return list(found.values())


def _import_once(definitions: Sequence[Definition]) -> Loop:
    async def import_definitions(database: Database, draining: asyncio.Event) -> None:
        async with database.transaction() as tx:
            await handlers.import_definitions(tx, definitions)
        await draining.wait()

    return import_definitions
