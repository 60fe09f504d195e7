"""The composition root: settings, definitions from their folder, routes, subscriptions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from chassis import Database
from chassis.service import Loop, Service

from workflow.api import REFUSALS, ROUTERS
from workflow.approval.delivery import deliver
from workflow.consumer import SUBSCRIPTIONS
from workflow.definition import handlers as definition_handlers
from workflow.definition.domain import Definition, DefinitionInvalid, parse_definition
from workflow.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def service() -> Service:
    settings = Settings.load()
    return Service(
        name="workflow",
        settings=settings,
        migrations=MIGRATIONS,
        routers=ROUTERS,
        refusals=REFUSALS,
        subscriptions=SUBSCRIPTIONS,
        loops=[_import_once(read_definitions(settings.definitions_dir)), deliver],
    )


def read_definitions(folder: Path) -> list[Definition]:
    """Every *.yaml file of the folder.

    Raises:
        DefinitionInvalid: a file breaks a rule, or there is none at all.
    """
    found = [_read(file) for file in sorted(folder.glob("*.yaml"))]
    if not found:
        raise DefinitionInvalid(f"{folder}: holds no *.yaml; put one definition there")
    return found


def _read(file: Path) -> Definition:
    try:
        return parse_definition(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DefinitionInvalid(f"{file.name}: not UTF-8; save it as UTF-8") from error
    except DefinitionInvalid as error:
        raise DefinitionInvalid(f"{file.name}: {error}") from error


def _import_once(definitions: Sequence[Definition]) -> Loop:
    async def import_definitions(database: Database, draining: asyncio.Event) -> None:
        async with database.transaction() as tx:
            await definition_handlers.import_definitions(tx, definitions)
        await draining.wait()

    return import_definitions
