"""Composition root: settings, channels, service; or the view, in a process of its own."""

import sys
from pathlib import Path
from typing import NoReturn

from chassis.service import Service
from events.notices import ChannelName

from notifier.api import notices_router, pipeline_router
from notifier.channels import Channel
from notifier.channels.email import Email
from notifier.channels.in_app import InApp
from notifier.channels.webhook import Webhook
from notifier.consumer import subscriptions
from notifier.delivery import Pace, delivering
from notifier.settings import Settings


def main() -> None:
    """`view` folds the pipeline until SIGTERM; anything else is the service's own."""
    if sys.argv[1:] == ["view"]:
        _view(Settings.load())
    service().main()


def _view(settings: Settings) -> NoReturn:
    from notifier.streams import Fold, Worker

    Worker(
        fold=Fold(settings.postgres_dsn.get_secret_value(), settings.pipeline_generation),
        kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
        kafka_session_seconds=settings.kafka_session_seconds,
        http_host=settings.http_host,
        http_port=settings.http_port,
    ).run(settings.log_level)


def service() -> Service:
    settings = Settings.load()
    pace = Pace(
        poll=settings.delivery_poll,
        at_once=settings.delivery_concurrency,
        attempts=settings.delivery_attempts,
        first_pause=settings.delivery_first_pause,
        longest_pause=settings.delivery_longest_pause,
    )
    return Service(
        name="notifier",
        settings=settings,
        migrations=Path(__file__).parents[2] / "migrations",
        routers=[notices_router, pipeline_router(settings.pipeline_generation)],
        subscriptions=subscriptions(settings.channel_names),
        loops=[delivering(_channel(name, settings), pace) for name in settings.channel_names],
    )


def _channel(name: ChannelName, settings: Settings) -> Channel:
    if name is ChannelName.EMAIL:
        password = settings.smtp_password
        return Email(
            host=settings.smtp_host,
            port=settings.smtp_port,
            sender=settings.smtp_from,
            tls=settings.smtp_tls,
            user=settings.smtp_user,
            password=password.get_secret_value() if password else None,
            timeout=settings.delivery_timeout_seconds,
        )
    if name is ChannelName.WEBHOOK:
        return Webhook(
            url=settings.webhook_url,
            secret=settings.webhook_secret.get_secret_value().encode(),
            timeout=settings.delivery_timeout_seconds,
        )
    return InApp()
