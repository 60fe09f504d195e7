"""The composition root: settings, definitions from their folder, routes, subscriptions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import yaml
from chassis import Database, Service
from chassis.service import Loop
from pydantic import ValidationError

from workflow import handlers
from workflow.api import REFUSALS, router
from workflow.consumer import SUBSCRIPTIONS
from workflow.domain import Definition
from workflow.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


class DefinitionInvalidError(ValueError):
    """A definition file breaks a rule; the message names file, field and rule."""


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
        DefinitionInvalidError: a file breaks a rule, or there is none at all.
    """
    found = [_read(file) for file in sorted(folder.glob("*.yaml"))]
    if not found:
        raise DefinitionInvalidError(f"{folder}: holds no *.yaml; put one definition there")
    return found


def _read(file: Path) -> Definition:
    try:
        return Definition.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise DefinitionInvalidError(f"{file.name}: not YAML: {error}") from error
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'definition'}: {one['msg']}"
            for one in error.errors()
        )
        raise DefinitionInvalidError(f"{file.name}: {said}") from error


def _import_once(definitions: Sequence[Definition]) -> Loop:
    async def import_definitions(database: Database, draining: asyncio.Event) -> None:
        async with database.transaction() as tx:
            await handlers.import_definitions(tx, definitions)
        await draining.wait()

    return import_definitions
