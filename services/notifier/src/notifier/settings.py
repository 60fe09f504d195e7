"""What the notifier is told by its environment."""

from datetime import timedelta
from typing import Literal, Self

from chassis import ServiceSettings
from events.notices import ChannelName
from pydantic import Field, SecretStr, model_validator

ChannelSetting = Literal["in_app", "email", "webhook"]


class Settings(ServiceSettings):
    """Settings of the notifier beside those of every service."""

    channels: tuple[ChannelSetting, ...] = Field(
        ("in_app",), description="how people are told, as a JSON list: in_app, email, webhook"
    )

    smtp_host: str = Field("", description="the mail server; needed by the channel email")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_tls: Literal["none", "starttls", "tls"] = Field(
        "starttls", description="how the connection is protected; none is for loopback"
    )
    smtp_user: str | None = Field(None, description="the login; None: the server asks for none")
    smtp_password: SecretStr | None = Field(None, description="its password")
    smtp_from: str = Field("", description="the sender's address; needed by the channel email")

    webhook_url: str = Field("", description="where to POST; needed by the channel webhook")
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="signs each POST; needed by the channel webhook"
    )

    delivery_poll: timedelta = Field(
        timedelta(milliseconds=200), description="between two looks for due notices"
    )
    delivery_concurrency: int = Field(8, ge=1, le=64, description="sent at once per channel")
    delivery_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="a channel that has not answered by then is unavailable"
    )
    delivery_attempts: int = Field(
        20, ge=1, description="after so many attempts a notice has failed"
    )
    delivery_first_pause: timedelta = Field(
        timedelta(seconds=1), description="wait after the first failed attempt; then it doubles"
    )
    delivery_longest_pause: timedelta = Field(
        timedelta(minutes=15), description="the longest wait between two attempts"
    )

    pipeline_generation: int = Field(
        1, ge=1, description="raise it to throw the pipeline view away and fold it again"
    )

    @property
    def channel_names(self) -> tuple[ChannelName, ...]:
        return tuple(ChannelName(name) for name in dict.fromkeys(self.channels))

    @model_validator(mode="after")
    def _channels_are_complete(self) -> Self:
        needed = {
            "email": {"SMTP_HOST": self.smtp_host, "SMTP_FROM": self.smtp_from},
            "webhook": {
                "WEBHOOK_URL": self.webhook_url,
                "WEBHOOK_SECRET": self.webhook_secret.get_secret_value(),
            },
        }
        for channel in self.channels:
            for name, value in needed.get(channel, {}).items():
                if not value:
                    raise ValueError(
                        f"CHANNELS 启用了 {channel}，请设置 {name}。"
                        f" CHANNELS names {channel}: set {name}."
                    )
        return self
