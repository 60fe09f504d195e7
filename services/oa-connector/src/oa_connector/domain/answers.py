"""What an OA can do and what it says, in our words: the language of every adapter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from events import ContentHash, DocumentId, EmployeeId, InstanceId


class Status(StrEnum):
    """What an OA says about one of its processes. UNKNOWN never means yes."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"
    TERMINATED = "terminated"  # ended by an administrator of the OA
    EXPIRED = "expired"
    VANISHED = "vanished"  # the OA no longer knows it
    UNKNOWN = "UNKNOWN"


class Idempotency(StrEnum):
    """What protects a create from happening twice."""

    SERVER_KEY = "server_key"  # the OA itself refuses the same key again
    UPSERT = "upsert"  # the same key changes the same process
    SEARCHABLE = "searchable"  # it can be looked up by our key before it is sent again
    NONE = "none"  # after an unknown outcome only a person can know


class Sight(StrEnum):
    """A way to learn that something has changed. Each is a hint; `fetch` decides."""

    PUSH = "push"
    STREAM = "stream"
    POLL_ONE = "poll_one"
    POLL_CREATED_SINCE = "poll_created_since"
    POLL_CHANGED_SINCE = "poll_changed_since"
    DIFF = "diff"


class Ability(StrEnum):
    """How something is done in an OA: by its API, by a person there, or not at all."""

    API = "api"
    MANUAL = "manual"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one OA can do. Data: kept per tenant, shown to administrators.

    `profile`: which dialect of the OA the adapter speaks to it; `calls_per_minute` and `burst`:
    what we allow ourselves there.
    """

    idempotency: Idempotency
    sights: frozenset[Sight]
    withdraw: Ability
    comment: Ability
    profile: str
    attach: Ability = Ability.NONE
    act_on_behalf: Ability = Ability.NONE
    push_signed: bool = False
    calls_per_minute: int = 3000
    burst: int = 50


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What read-only calls found. `degraded`: a newer version than any the adapter knows.

    `forms` holds the fingerprint of each template: a changed one pauses new submissions by it.
    """

    version: str | None
    profile: str
    is_degraded: bool = False
    detail: str = ""
    forms: Mapping[str, str] = field(default_factory=dict)


class SubmitOutcome(StrEnum):
    """What is known after a create. UNKNOWN: the process may exist; never sent again blindly."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"  # the OA has one under this key already: look it up
    REJECTED = "REJECTED"
    RETRY_LATER = "RETRY_LATER"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """`instance_id` is set when ACCEPTED; `detail` says why otherwise."""

    outcome: SubmitOutcome
    instance_id: InstanceId | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What the approvers see. `amount` is a decimal string; `route` holds (step, approver).

    `details` has one readable row for each line, what breaks a rule first. A to-do that mirrors
    one task of ours is a form whose route is that one step.
    """

    title: str
    amount: str
    currency: str
    submitter_id: EmployeeId
    route: tuple[tuple[int, EmployeeId], ...]
    details: tuple[str, ...] = ()

    @property
    def approvers(self) -> tuple[EmployeeId, ...]:
        return tuple(approver for _, approver in self.route)

    def step(self, index: int) -> int:
        """The number of the step at this place of the route, from 0; the OA may add steps."""
        return self.route[index][0] if index < len(self.route) else index + 1


@dataclass(frozen=True, slots=True)
class SubmitApproval:
    """What is to be created. `business_key` is the name under which the OA must find it again.

    `template` names the form or process of the OA; `attempt` counts creates of this key from 1.
    """

    business_key: str
    document_id: DocumentId
    template: str
    content_hash: ContentHash
    form: Form
    attempt: int = 1

    @property
    def idempotency_key(self) -> str:
        """For an OA with a key of its own: the same for every attempt."""
        return self.business_key


@dataclass(frozen=True, slots=True)
class Instance:
    """One process that the OA runs or ran, as a list of processes shows it."""

    instance_id: InstanceId
    content_hash: ContentHash | None
    is_open: bool
    business_key: str | None = None
    created_at: datetime | None = None  # by the OA's clock
    changed_at: datetime | None = None  # by the OA's clock


@dataclass(frozen=True, slots=True)
class DecidedStep:
    """One step that a person has decided in the OA; `outcome` is approve, reject or return.

    None or another word: the adapter could not tell, and it counts as no decision. `step_id` is the
    OA's own name for the step: it stays while other steps come before or after.
    """

    decided_by: EmployeeId
    outcome: str | None
    opinion: str | None
    decided_at: datetime
    step_id: str

    @property
    def decider(self) -> str:
        """Whose decision it was, and when."""
        return f"{self.decided_by} {self.decided_at.isoformat()}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of one process as the OA reports it: the only source of truth about it.

    `steps` holds the decided steps in the order in which they were decided. `version` grows with
    each change in the OA, so that an older answer never overwrites a newer one; () where the OA
    gives none. `waiting` names whom the OA asks now, where it says so; `missing` those of them who
    have no account there, so that nobody can decide.
    """

    status: Status
    content_hash: ContentHash | None = None
    steps: tuple[DecidedStep, ...] = ()
    ended_at: datetime | None = None
    version: tuple[int, ...] = ()
    amount: Decimal | None = None
    waiting: tuple[EmployeeId, ...] = ()
    missing: tuple[EmployeeId, ...] = ()

    @property
    def may_run(self) -> bool:
        """Whether somebody may still decide in it: a word that we do not know ends nothing."""
        return self.status in {Status.PENDING, Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the OA's own time, both ends inclusive."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what a scan found, oldest first; `next` is the cursor of the rest, if any."""

    instances: tuple[Instance, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who is who in an OA: `names` holds those whose account there differs from their own id."""

    names: Mapping[EmployeeId, str] = field(default_factory=dict)

    def to_oa(self, employee_id: EmployeeId) -> str:
        return self.names.get(employee_id, employee_id)

    def from_oa(self, account: str) -> EmployeeId:
        """The person behind an account; an account that nobody is known by stands for itself."""
        found = (person for person, name in self.names.items() if name == account)
        return next(found, EmployeeId(account))
