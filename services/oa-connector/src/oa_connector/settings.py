"""What the connector is told: which OAs there are, and how patient to be with them."""

from pathlib import Path
from typing import Literal, Self

from chassis import ServiceSettings
from events import TenantId
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class FlowableTenant(BaseModel):
    """One Flowable server. Each secret stands here, or in a file that is read at each use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["flowable"]
    base_url: str = Field(description="its address, without /process-api")
    username: str = Field(description="who we are there")
    password: SecretStr | None = Field(None, min_length=1)
    password_file: Path | None = None
    process_key: str = Field("tonglu-approval", description="the process definition to start")
    callback_secret: SecretStr | None = Field(None, min_length=1)
    callback_secret_file: Path | None = None
    calls_per_second: int = Field(50, ge=1, description="more calls than that wait their turn")

    @model_validator(mode="after")
    def _each_secret_once(self) -> Self:
        for name in ("password", "callback_secret"):
            given = (getattr(self, name), getattr(self, f"{name}_file"))
            if sum(one is not None for one in given) != 1:
                raise ValueError(f"give either {name} or {name}_file")
        return self

    def read_password(self) -> str:
        return _read(self.password, self.password_file)

    def read_callback_secret(self) -> str:
        return _read(self.callback_secret, self.callback_secret_file)


class Settings(ServiceSettings):
    """The connector's own settings."""

    tenants: dict[TenantId, FlowableTenant] = Field(
        default_factory=dict, description="the OAs by name, as a JSON object"
    )
    claim_url: str = Field(
        "", description="where an approver sees a document; {document_id} is filled in"
    )
    poll_seconds: float = Field(0.2, gt=0, description="between two looks for due rows")
    call_seconds: float = Field(12.0, gt=0, description="one call of an OA takes at most")
    lease_seconds: float = Field(30.0, gt=0, description="a silent holder keeps a row this long")
    calls_at_once: int = Field(8, ge=1, description="rows in work at once, per OA and kind")
    lookup_seconds: tuple[int, ...] = Field(
        (1, 5, 30), min_length=1, description="waits before each look-up of an unknown create"
    )
    create_attempts: int = Field(5, ge=1, description="unknown creates before a person must look")
    longest_wait_seconds: int = Field(60, ge=1, description="between two tries of a silent OA")
    follow_young_seconds: int = Field(5, ge=1, description="between two reads of a new process")
    follow_old_seconds: int = Field(60, ge=1, description="between two reads of an old process")

    @model_validator(mode="after")
    def _lease_outlives_calls(self) -> Self:
        if self.lease_seconds <= 2 * self.call_seconds:
            raise ValueError("lease_seconds must be more than twice call_seconds")
        return self


def _read(value: SecretStr | None, file: Path | None) -> str:
    secret = file.read_text().strip() if file else value.get_secret_value() if value else ""
    if not secret:
        # A signature under an empty key could be made by anyone.
        raise ValueError(f"{file} holds no secret")
    return secret
