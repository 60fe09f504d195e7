"""What the connector is told: which OAs there are, and how patient to be with them."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, Self

from chassis import ServiceSettings
from events import EmployeeId, TenantId
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

_CALLS = 25  # of one question: an OA may tell of each step by two calls
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class OATenant(BaseModel):
    """One OA. Each secret stands here, or in a file that is read at each use: it may change.

    The name of the one before ends in `_previous`: a callback signed by it counts while it is
    there. `people` holds those whose account in the OA is not their employee id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        pattern=r"^https?://", description="its address, without the path of the interface"
    )
    secrets: dict[_Name, SecretStr] = Field(default_factory=dict)
    secret_files: dict[_Name, Path] = Field(default_factory=dict)
    people: dict[EmployeeId, str] = Field(default_factory=dict)
    calls_per_second: float = Field(50, gt=0, description="more calls than that wait their turn")
    burst: int | None = Field(
        None, ge=1, description="calls at once after a rest; by default one second's"
    )
    breaker_failures: int = Field(5, ge=1, description="failures in a row before it is left alone")
    breaker_seconds: float = Field(30, gt=0, description="how long it is left alone")

    @model_validator(mode="after")
    def _each_secret_once(self) -> Self:
        twice = self.secrets.keys() & self.secret_files.keys()
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))}: give the secret or its file, not both")
        return self

    def secret(self, name: str) -> str:
        """The secret of this name.

        Raises:
            KeyError: there is none, or its file is not there.
            ValueError: it is empty; a signature under an empty key could be made by anyone.
        """
        if name in self.secrets:
            found = self.secrets[name].get_secret_value()
        else:
            file = self.secret_files[name]
            if not file.exists():
                raise KeyError(name)
            found = file.read_text().strip()
        if not found:
            raise ValueError(f"the secret {name} is empty")
        return found

    def _needs(self, *names: str) -> None:
        missing = sorted(set(names) - self.secrets.keys() - self.secret_files.keys())
        if missing:
            raise ValueError(f"secrets: {', '.join(missing)} is missing")


class FlowableTenant(OATenant):
    """A Flowable server; its secrets are `password` and `callback`."""

    kind: Literal["flowable"]
    username: str = Field(description="who we are there")
    processes: Mapping[str, str] = Field(
        {"claim": "tonglu-approval"}, description="the process to start for each kind of document"
    )
    deploy: bool = Field(default=False, description="bring our process along where it is not there")

    @model_validator(mode="after")
    def _secrets_are_there(self) -> Self:
        self._needs("password", "callback")
        return self


class ProfileTenant(OATenant):
    """An OA that a profile describes; the profile names its secrets."""

    kind: Literal["http_profile", "soap_profile"]
    profile: Path = Field(description="the YAML file; a bare name is one that we bring along")


Tenant = Annotated[FlowableTenant | ProfileTenant, Field(discriminator="kind")]


class Settings(ServiceSettings):
    """The connector's own settings."""

    tenants: dict[TenantId, Tenant] = Field(
        default_factory=dict, description="the OAs by name, as a JSON object"
    )
    claim_url: str = Field(
        "", description="where an approver sees a document; {document_id} is filled in"
    )
    poll_seconds: float = Field(0.2, gt=0, description="between two looks for due rows")
    call_seconds: float = Field(12.0, gt=0, description="one call of an OA takes at most")
    lease_seconds: float = Field(
        60.0, gt=0, description="a silent holder keeps a row this long; two calls and their turns"
    )
    calls_at_once: int = Field(
        8, ge=1, description="rows in work at once, per OA and kind; fewer for a slow OA"
    )
    lookup_seconds: tuple[int, ...] = Field(
        (1, 5, 30), min_length=1, description="waits before each look-up of an unknown create"
    )
    create_attempts: int = Field(5, ge=1, description="unknown creates before a person must look")
    longest_wait_seconds: int = Field(60, ge=1, description="between two tries of a silent OA")
    follow_young_seconds: int = Field(5, ge=1, description="between two reads of a new process")
    follow_old_seconds: int = Field(600, ge=1, description="between two reads of an old process")
    watch_days: int = Field(
        30, ge=0, description="a process that has ended is read again for so long"
    )
    reconcile_seconds: int = Field(300, ge=1, description="between two comparisons with an OA")

    @model_validator(mode="after")
    def _lease_outlives_calls(self) -> Self:
        if self.lease_seconds <= 2 * self.call_seconds:
            raise ValueError("lease_seconds must be more than twice call_seconds")
        return self

    @model_validator(mode="after")
    def _turns_come_within_the_lease(self) -> Self:
        least = _CALLS / (self.lease_seconds / 2 - self.call_seconds)
        for name, tenant in self.tenants.items():
            if tenant.calls_per_second < least:
                lease = ceil(2 * (_CALLS / tenant.calls_per_second + self.call_seconds))
                raise ValueError(
                    f"{name}: calls_per_second must be at least {least:.2g}, or lease_seconds"
                    f" {lease}: a question of {_CALLS} calls would not have its turns in time"
                )
        return self
