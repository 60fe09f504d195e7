"""What every OA must be able to do for us, whatever its own words for it are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events import InstanceId

from oa_connector.domain import Instance, Snapshot, Submission, SubmitResult


class OAError(Exception):
    """The OA did not answer, or not in a way that can be read. It means nothing but that."""


class CallbackError(Exception):
    """A callback that does not count; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CallbackRefusedError(CallbackError):
    """It is not proven to be the OA's own, fresh and first."""


class CallbackMalformedError(CallbackError):
    """It is rightly signed but cannot be read."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A callback that was proven: something has happened to this process. It says no more."""

    instance_id: InstanceId
    delivery_id: str
    signature: str


class ApprovalPort(Protocol):
    """The OA's side of an approval. Every call that asks raises OAError and nothing else."""

    async def probe(self) -> str:
        """The version of the OA, by calls that change nothing."""

    async def submit(self, submission: Submission) -> SubmitResult:
        """Begin a process. It never raises: what is not known is UNKNOWN."""

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        """Every process that was ever begun under this key, oldest first: 0, 1 or more."""

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        """The whole process as it is now."""

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        """Ask the OA to end the process, then fetch it: what the OA shows is what counts."""

    async def close(self) -> None:
        """Let go of connections."""


class InboundPort(Protocol):
    """The OA's callbacks."""

    def open(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Hint]:
        """Verify, then read; no I/O, and in a time that does not depend on the secret.

        Raises:
            CallbackRefusedError: the signature or the time is wrong.
            CallbackMalformedError: it is rightly signed but cannot be read.
        """
