"""Submissions of documents and tasks to an OA: their states, and how one gets there and back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from events import ContentHash, DocumentId, Event, InstanceId, TaskId, TenantId
from events.oa import Drift, OASubmissionStuck
from events.workflow import ApprovalRequested, ApprovalTaskAssigned, Decision

from oa_connector.domain.answers import (
    Form,
    Idempotency,
    Snapshot,
    Status,
    SubmitApproval,
)

MAX_REASON = 200
AT_ONCE = timedelta(0)


class State(StrEnum):
    """Where a submission stands. In UNKNOWN the OA may or may not run a process for it."""

    NEW = "NEW"
    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    RESOLVING = "RESOLVING"
    SUBMITTED = "SUBMITTED"
    WITHDRAWING = "WITHDRAWING"
    NEEDS_HUMAN = "NEEDS_HUMAN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why a process in the OA is to end, and what its people are to read there.

    `decision`: how the task was decided in Tonglu, where it was; another one in the OA is a drift.
    """

    reason: str
    note: str | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One process on its way through an OA: of a document's revision, or of one mirrored task.

    `attempt` counts creates; 0: none was taken, or a person has it sent anew and what does not fit
    is ended first.
    `lookups` counts searches by business key that found nothing since the last create;
    `failures` counts calls in a row that did not come through; `hints` counts callbacks;
    `tries` counts what was asked in vain at its end: its note, then its end;
    `rereads` counts looks at a process that has ended. `version` is the newest one seen.
    `told` names the steps whose decisions were told, by the OA's ids; `steps_seen` is how many;
    `deciders` says of each of them who and when, '' where that is not known any more.
    `missed`: a difference that is being repaired, and is said when it is gone.
    """

    document_id: DocumentId
    revision: int
    tenant: TenantId
    content_hash: ContentHash
    form: Form
    template: str = "claim"
    task_id: TaskId | None = None
    state: State = State.NEW
    attempt: int = 1
    lookups: int = 0
    failures: int = 0
    tries: int = 0
    hints: int = 0
    steps_seen: int = 0
    told: tuple[str, ...] = ()
    deciders: tuple[str, ...] = ()
    rereads: int = 0
    instance_id: InstanceId | None = None
    status: Status | None = None  # how it ended in the OA
    version: tuple[int, ...] = ()
    drift: Drift | None = None
    missed: Drift | None = None
    farewell: Farewell | None = None
    is_annotated: bool = False
    opened_at: datetime | None = None
    ended_at: datetime | None = None  # when we saw that it had ended
    last_error: str | None = None
    lease_until: datetime | None = None

    @property
    def business_key(self) -> str:
        """The name under which the OA knows it."""
        return self.task_id or f"{self.document_id}@{self.revision}"

    @property
    def amount(self) -> Decimal:
        return Decimal(self.form.amount)

    @property
    def command(self) -> SubmitApproval:
        """What is to be created."""
        return SubmitApproval(
            business_key=self.business_key,
            document_id=self.document_id,
            template=self.template,
            content_hash=self.content_hash,
            form=self.form,
            attempt=self.attempt,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that every fact about it begins with."""
        return {
            "document_id": self.document_id,
            "revision": self.revision,
            "tenant": self.tenant,
            "task_id": self.task_id,
            "instance_id": self.instance_id,
        }


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before asking again.

    `lookups`: the waits before each search by business key after a create of unknown outcome;
    `attempts`: creates whose outcome stayed unknown before a person must look; `rereads`: the
    waits before each look at a process that has ended, the last of them repeated until `watched`.
    `notes`: tries to leave a note before the process is ended without it; `refusals`: withdrawals
    in vain before a person is told, one where only a person can end it; `unreadable`: answers in a
    row that cannot be read, or refuse us this one thing, before a person must look; `unanswered`:
    the same of errors and silence, while the OA is well. `idempotency` is the OA's: it says what
    may follow on an unknown create.
    """

    lookups: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (1, 5, 30))
    attempts: int = 5
    longest: timedelta = timedelta(seconds=60)
    poll_young: timedelta = timedelta(seconds=5)
    poll_old: timedelta = timedelta(minutes=10)
    rereads: tuple[timedelta, ...] = tuple(
        timedelta(minutes=wait) for wait in (1, 5, 30, 360, 1440)
    )
    watched: timedelta = timedelta(days=30)
    notes: int = 8
    refusals: int = 5
    unreadable: int = 12  # about seven minutes
    unanswered: int = 120  # about two hours
    idempotency: Idempotency = Idempotency.SEARCHABLE

    def after_failures(self, failures: int, longest: timedelta | None = None) -> timedelta:
        """1 s, 2 s, 4 s and so on, up to the longest."""
        return min(longest or self.longest, timedelta(seconds=1 << min(failures - 1, 16)))

    def until_next_poll(self, age: timedelta) -> timedelta:
        """A process that has just begun is asked often, one that lies for days seldom."""
        return min(self.poll_old, max(self.poll_young, age / 60))

    def until_reread(self, rereads: int, age: timedelta) -> timedelta | None:
        """When to look again at what has ended; None: it is old enough to be left alone."""
        if age > self.watched:
            return None
        return self.rereads[min(rereads, len(self.rereads) - 1)]


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a submission, what is said about it, and when it is due again.

    `due_in` None: never, where it is closed or waits for a person; else as it was. `seen` is the
    OA's side, for whoever must compare. `is_form_broken`: the OA lost what we sent; nothing more is
    to be sent by this template.
    """

    submission: Submission
    facts: tuple[Event, ...] = ()
    due_in: timedelta | None = None
    seen: Snapshot | None = None
    is_form_broken: bool = False


class SubmissionNotStuckError(Exception):
    """Only a submission that waits for a person can be tried again; `state` is the one it is in."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


@dataclass(frozen=True, slots=True)
class Request:
    """A mirrored approval as its tasks will be shown in the OA: kept until it has ended."""

    document_id: DocumentId
    revision: int
    tenant: TenantId
    template: str
    content_hash: ContentHash
    form: Form


def _form_of(event: ApprovalRequested) -> Form:
    return Form(
        title=event.title,
        amount=f"{event.total.amount:f}",
        currency=event.total.currency,
        submitter_id=event.submitter_id,
        route=tuple((step.step, step.approver_id) for step in event.route),
        details=event.details,
    )


def request_of(event: ApprovalRequested) -> Request:
    """What the tasks of a mirrored approval are shown by."""
    return Request(
        document_id=event.document_id,
        revision=event.revision,
        tenant=event.tenant or TenantId(""),
        template=event.document_kind.value,
        content_hash=event.content_hash,
        form=_form_of(event),
    )


def requested(event: ApprovalRequested, now: datetime) -> Move:
    """The submission that follows from a delegated approval."""
    submission = Submission(
        document_id=event.document_id,
        revision=event.revision,
        tenant=event.tenant or TenantId(""),
        content_hash=event.content_hash,
        form=_form_of(event),
        template=event.document_kind.value,
    )
    if not event.route:
        # A process without approvers would end at once as approved.
        return stuck(replace(submission, attempt=0), "the route names no approver", now)
    return Move(submission, due_in=AT_ONCE)


def mirrored(request: Request, event: ApprovalTaskAssigned) -> Move:
    """The submission that shows one task of ours in the OA: a route of this one step."""
    submission = Submission(
        document_id=request.document_id,
        revision=request.revision,
        tenant=request.tenant,
        content_hash=request.content_hash,
        form=replace(request.form, route=((event.step, event.assignee_id),)),
        template=request.template,
        task_id=event.task_id,
    )
    return Move(submission, due_in=AT_ONCE)


def stuck(submission: Submission, reason: str, now: datetime) -> Move:
    """A person must look; nothing is sent until then."""
    reason = reason[:MAX_REASON]
    about = {name: value for name, value in submission.facts.items() if name != "instance_id"}
    fact = OASubmissionStuck(**about, reason=reason, stuck_at=now)
    return Move(replace(submission, state=State.NEEDS_HUMAN, last_error=reason), (fact,))


def anew(submission: Submission) -> Submission:
    """To be looked for; what does not fit is ended, and where nothing is left it is created."""
    return replace(submission, state=State.UNKNOWN, attempt=0, lookups=0, drift=None)


def retried(submission: Submission) -> Move:
    """A person has looked: search the OA once more, and create only if nothing fits.

    Raises:
        SubmissionNotStuckError: it does not wait for a person.
    """
    if submission.state is not State.NEEDS_HUMAN:
        raise SubmissionNotStuckError(submission.state)
    return Move(anew(submission), due_in=AT_ONCE)


def next_reread(closed: Submission, patience: Patience, now: datetime) -> timedelta | None:
    """When to look again at one that has ended; rows of old do not know when that was seen."""
    return patience.until_reread(closed.rereads, now - (closed.ended_at or closed.opened_at or now))


def no_oa(tenant: TenantId) -> str:
    """What is wrong with a submission to an OA that is not in our settings."""
    return f"no OA is configured under the name {tenant!r}"[:MAX_REASON]


def stranded(submission: Submission, now: datetime) -> Move:
    """Its OA is not in our settings: told once; what is to end and is not there is given up."""
    reason = no_oa(submission.tenant)
    if submission.farewell is None or submission.last_error != reason:
        return stuck(submission, reason, now)
    is_there = submission.instance_id is not None
    return Move(replace(submission, state=State.NEEDS_HUMAN if is_there else State.CLOSED))


def resumed(submission: Submission) -> Move:
    """Its OA is in our settings again: it goes on where it was; what may be sent is searched."""
    if submission.instance_id is None or submission.opened_at is None:
        state = State.UNKNOWN
    else:
        state = State.SUBMITTED if submission.farewell is None else State.WITHDRAWING
    return Move(replace(submission, state=state, lookups=0, last_error=None), due_in=AT_ONCE)


def withdrawn(submission: Submission, farewell: Farewell) -> Move | None:
    """Take it back from the OA; None when there is nothing left to take back.

    Where a create may be under way, the farewell waits on the row until its outcome is known.
    """
    wanted = replace(submission, farewell=_fuller(submission.farewell, farewell), tries=0)
    match submission.state:
        case State.CLOSED if submission.instance_id and farewell.note and not submission.farewell:
            return Move(wanted, due_in=AT_ONCE)  # it has ended there too: its people are told
        case State.CLOSED | State.WITHDRAWING:
            return None
        case State.NEW:
            return Move(replace(wanted, state=State.CLOSED))
        case State.NEEDS_HUMAN if submission.instance_id is None:  # one may have turned up since
            return Move(replace(wanted, state=State.UNKNOWN, lookups=0), due_in=AT_ONCE)
        case State.NEEDS_HUMAN | State.SUBMITTED:
            return Move(replace(wanted, state=State.WITHDRAWING), due_in=AT_ONCE)
        case _:
            return Move(wanted)


def _fuller(before: Farewell | None, farewell: Farewell) -> Farewell:
    """A task that was decided ends its approval too: who decided is still to be told there."""
    is_fuller = before is not None and (before.note is not None or before.decision is not None)
    return before if before is not None and is_fuller else farewell


def note_due(submission: Submission) -> str | None:
    """What the people of its process are still to read there."""
    farewell = submission.farewell
    return None if farewell is None or submission.is_annotated else farewell.note


def note_not_left(submission: Submission, patience: Patience, *, is_refused: bool) -> Submission:
    """Refused for good, or tried often enough: its process is ended without the note."""
    tries = submission.tries + 1
    is_dropped = is_refused or tries >= patience.notes
    return replace(submission, is_annotated=is_dropped, tries=tries)
