"""Composition root: settings, source, limits, service."""

from pathlib import Path

from chassis.service import Service

from directory_sync.api import REFUSALS, directory_router, status_router
from directory_sync.delivery import Follower
from directory_sync.domain.plan import Threshold
from directory_sync.settings import Settings
from directory_sync.sources.files import Files


def service() -> Service:
    settings = Settings.load()
    source = Files(settings.directory_folder, settings.require_row_count)
    threshold = Threshold(settings.max_leaving_percent, settings.max_leaving_people)
    follower = Follower(source, threshold, settings.apply_at_start, settings.auto_apply_seconds)
    follows = settings.apply_at_start or settings.auto_apply_seconds is not None
    return Service(
        name="directory-sync",
        settings=settings,
        migrations=Path(__file__).parents[2] / "migrations",
        routers=[directory_router(source, threshold), status_router],
        refusals=REFUSALS,
        loops=[follower.follow] if follows else [],
    )
