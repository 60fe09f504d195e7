"""A channel that is switched on has everything it needs, or the service does not start."""

import pytest
from notifier.settings import Settings
from pydantic import ValidationError

PLAIN = {
    "postgres_dsn": "postgresql://unused",
    "kafka_bootstrap_servers": "127.0.0.1:9",
    "oidc_issuer": "http://issuer.test",
}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"channels": ("email",), "smtp_from": "a@example.com"}, "SMTP_HOST"),
        ({"channels": ("email",), "smtp_host": "mail.example.com"}, "SMTP_FROM"),
        ({"channels": ("webhook",), "webhook_url": "http://robot"}, "WEBHOOK_SECRET"),
        ({"channels": ("webhook",), "webhook_secret": "s"}, "WEBHOOK_URL"),
    ],
)
def test_channel_without_what_it_needs_is_refused_by_name(given, missing) -> None:
    with pytest.raises(ValidationError, match=missing):
        Settings(**PLAIN, **given)


def test_channel_named_twice_is_one() -> None:
    assert Settings(**PLAIN, channels=("in_app", "in_app")).channel_names == ("in_app",)
