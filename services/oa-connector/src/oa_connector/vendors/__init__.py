"""What every OA must be able to do for us, whatever its own words for it are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from events import InstanceId

from oa_connector.domain import (
    Capabilities,
    Instance,
    Page,
    ProbeReport,
    Sight,
    Snapshot,
    SubmitApproval,
    SubmitResult,
    Window,
)

LONGEST_VERSION = 64  # characters: a report holds no more of it than events have room for


class OAError(Exception):
    """The OA did not answer, or not in a way that can be read. It means nothing but that.

    `words` is what the OA wrote, which may be a document's title or about a person: `told` has it
    for whoever administers the OA, and `str()`, which goes into logs, has not.
    """

    def __init__(self, what: str, words: str = "") -> None:
        super().__init__(what)
        self.words = words

    @property
    def told(self) -> str:
        return f"{self} {self.words}".rstrip()


class NotSentError(OAError):
    """Nothing reached the OA: it is safe to try again later."""


class NoTurnError(NotSentError):
    """Its turn did not come at the pace of this OA, which may answer all the same."""


class PausedError(NotSentError):
    """The breaker of this OA is open: it has failed too often and is left alone for a while."""


class NotTakenError(OAError):
    """The OA answered, and has not taken what it was sent; it may take it later."""


class RefusedError(OAError):
    """The OA said no to this very request: the same one again changes nothing."""


class ContractError(OAError):
    """The OA answered in a shape that we do not know: it is probed again."""


def is_away(trouble: OAError) -> bool:
    """Nothing reached the OA, and not only since we may not call it so often."""
    return isinstance(trouble, NotSentError) and not isinstance(trouble, NoTurnError)


def of_key(business_key: str, found: Sequence[Instance], where: str) -> list[Instance]:
    """Those under exactly this key, of all that a search for it has shown.

    An OA that does not know how it is asked shows other documents' processes, which are not ours
    to end. Where it shows no key, nobody can tell.

    Raises:
        ContractError: `where` a key should stand is none.
    """
    if any(one.business_key is None for one in found):
        raise ContractError(f"{where} finds nothing")
    return [one for one in found if one.business_key == business_key]


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

    @property
    def capabilities(self) -> Capabilities:
        """What this OA can do, as of the last probe."""

    @property
    def clock_offset(self) -> timedelta:
        """How far the OA's clock is ahead of ours, by the Date of its answers."""

    @property
    def breaker(self) -> str:
        """`closed`, `opened` or `half-opened`."""

    @property
    def refuses_us(self) -> bool:
        """Its last answer was that it does not know us, or does not let us in: 401 or 403."""

    async def probe(self) -> ProbeReport:
        """Version, dialect and fingerprints of the forms, by calls that change nothing."""

    async def submit(self, command: SubmitApproval) -> SubmitResult:
        """Begin a process. It never raises: what is not known is UNKNOWN."""

    async def resolve(self, business_key: str) -> Sequence[Instance]:
        """Every process that was ever begun under this key, oldest first: 0, 1 or more."""

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        """The whole process as it is now."""

    async def scan(self, by: Sight, window: Window, cursor: str | None = None) -> Page:
        """Processes of ours that were created, or changed, in this window of the OA's time.

        `by` is POLL_CREATED_SINCE or POLL_CHANGED_SINCE, whichever the capabilities name.
        """

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        """Ask the OA to end the process, then fetch it: what the OA shows is what counts."""

    async def comment(self, instance_id: InstanceId, text: str) -> None:
        """Leave a note where the people of the OA see it, also on a process that has ended.

        It stands nowhere after NotSentError, NotTakenError and RefusedError; after another OAError
        it may.
        """

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
