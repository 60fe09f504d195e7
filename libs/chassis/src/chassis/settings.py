"""What every service is told by its environment, or by files for what is secret."""

import os
from typing import Literal, Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Role = Literal["api", "consumer", "relay", "loops"]


class ServiceSettings(BaseSettings):
    """Read from environment variables of the same names in capitals.

    A secret may lie in a file instead: `SECRETS_DIR` names a folder in which a file called like
    the setting (`postgres_dsn`) holds its value.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    postgres_dsn: SecretStr = Field(description="this service's own database")
    postgres_pool_size: int = Field(10, ge=2, description="connections kept at most")
    postgres_acquire_seconds: float = Field(5.0, gt=0, description="wait for a connection at most")
    postgres_command_seconds: float = Field(30.0, gt=0, description="one statement takes at most")

    kafka_bootstrap_servers: str = Field(description="host:port, comma separated")
    kafka_session_seconds: float = Field(30.0, gt=0, description="silence before a member is out")
    consumer_stall_seconds: float = Field(
        120.0, gt=0, description="lag without progress, broker reachable, before the process exits"
    )

    oidc_issuer: str = Field(
        description="who signs the tokens; its discovery document names the keys"
    )
    oidc_audience: str = Field("tonglu-api", description="the `aud` that a token must carry")

    http_host: str = Field("127.0.0.1", description="the address to listen on")
    http_port: int = Field(8000, ge=0, le=65535, description="the port to listen on")
    http_body_bytes: int = Field(1_048_576, gt=0, description="a larger request body is refused")

    roles: tuple[Role, ...] = Field(
        ("api", "consumer", "relay", "loops"),
        description="which parts this process runs, as a JSON list; all by default",
    )
    drain_seconds: float = Field(15.0, gt=0, description="time to finish work after SIGTERM")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO")
    trace_ratio: float = Field(0.1, ge=0, le=1, description="share of requests that are traced")
    otel_exporter_otlp_endpoint: str | None = Field(
        None, description="where spans go; None: nowhere"
    )

    @classmethod
    def load(cls) -> Self:
        """Read the environment, and the folder that SECRETS_DIR names."""
        return cls(_secrets_dir=os.environ.get("SECRETS_DIR"))
