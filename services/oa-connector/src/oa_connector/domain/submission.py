"""Submissions of documents to an OA: their states, and what follows from each of its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from events import DocumentId, Event, InstanceId, TenantId
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
    OAInstanceOpened,
    OASubmissionStuck,
)
from events.workflow import ApprovalRequested, Decision

from oa_connector.domain.answers import (
    Form,
    Instance,
    Snapshot,
    Status,
    SubmitOutcome,
    SubmitResult,
)

_MAX_REASON = 200
_MAX_OPINION = 1000
_AT_ONCE = timedelta(0)


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
class Submission:
    """One revision of one document on its way through an OA.

    `lookups` counts searches by business key that found nothing since the last create;
    `failures` counts calls in a row that did not come through; `hints` counts callbacks.
    """

    document_id: DocumentId
    revision: int
    tenant: TenantId
    content_hash: str
    form: Form
    state: State = State.NEW
    attempt: int = 1
    lookups: int = 0
    failures: int = 0
    hints: int = 0
    steps_seen: int = 0
    instance_id: InstanceId | None = None
    drift: Drift | None = None
    withdraw_reason: str | None = None
    opened_at: datetime | None = None
    last_error: str | None = None
    lease_until: datetime | None = None

    @property
    def business_key(self) -> str:
        """The name under which the OA knows it."""
        return f"{self.document_id}@{self.revision}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before asking again.

    `lookups`: the waits before each search by business key after a create of unknown outcome;
    `attempts`: creates whose outcome stayed unknown before a person must look.
    """

    lookups: tuple[timedelta, ...] = tuple(timedelta(seconds=wait) for wait in (1, 5, 30))
    attempts: int = 5
    longest: timedelta = timedelta(seconds=60)
    poll_young: timedelta = timedelta(seconds=5)
    poll_old: timedelta = timedelta(seconds=60)

    def after_failures(self, failures: int) -> timedelta:
        """1 s, 2 s, 4 s and so on, up to the longest."""
        return min(self.longest, timedelta(seconds=1 << min(failures - 1, 16)))

    def until_next_poll(self, age: timedelta) -> timedelta:
        """A process that has just begun is asked often, one that lies for days seldom."""
        return min(self.poll_old, max(self.poll_young, age // 60))


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a submission, what is said about it, and when it is due again.

    `due_in` None leaves that as it was; what is closed or waits for a person is never due.
    """

    submission: Submission
    facts: tuple[Event, ...] = ()
    due_in: timedelta | None = None


class SubmissionNotStuckError(Exception):
    """Only a submission that waits for a person can be tried again; `state` is the one it is in."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


def requested(event: ApprovalRequested, now: datetime) -> Move:
    """The submission that follows from a delegated approval."""
    submission = Submission(
        document_id=event.document_id,
        revision=event.revision,
        tenant=event.tenant or TenantId(""),
        content_hash=event.content_hash,
        form=Form(
            title=event.title,
            amount=f"{event.total.amount:f}",
            currency=event.total.currency,
            submitter_id=event.submitter_id,
            route=tuple((step.step, step.approver_id) for step in event.route),
            details=event.details,
        ),
    )
    if not event.route:
        # A process without approvers would end at once as approved.
        return stuck(submission, "the route names no approver", now)
    return Move(submission, due_in=_AT_ONCE)


def stuck(submission: Submission, reason: str, now: datetime) -> Move:
    """A person must look; nothing is sent until then."""
    reason = reason[:_MAX_REASON]
    fact = OASubmissionStuck(
        document_id=submission.document_id,
        revision=submission.revision,
        tenant=submission.tenant,
        reason=reason,
        stuck_at=now,
    )
    return Move(replace(submission, state=State.NEEDS_HUMAN, last_error=reason), (fact,))


def retried(submission: Submission) -> Move:
    """A person has looked: search the OA once more, and create only if nothing is found.

    Raises:
        SubmissionNotStuckError: it does not wait for a person.
    """
    if submission.state is not State.NEEDS_HUMAN:
        raise SubmissionNotStuckError(submission.state)
    again = replace(submission, state=State.UNKNOWN, attempt=1, lookups=0, instance_id=None)
    return Move(again, due_in=_AT_ONCE)


def withdrawn(submission: Submission, reason: str) -> Move | None:
    """Take it back from the OA; None when there is nothing left to take back.

    Where a create may be under way, the reason waits on the row until its outcome is known.
    """
    match submission.state:
        case State.CLOSED | State.WITHDRAWING:
            return None
        case State.NEW:
            return Move(replace(submission, state=State.CLOSED))
        case State.NEEDS_HUMAN if submission.instance_id is None:
            return Move(replace(submission, state=State.CLOSED))
        case State.NEEDS_HUMAN | State.SUBMITTED:
            wanted = replace(submission, state=State.WITHDRAWING, withdraw_reason=reason)
            return Move(wanted, due_in=_AT_ONCE)
        case _:
            return Move(replace(submission, withdraw_reason=reason))


def not_created(
    submission: Submission, result: SubmitResult, patience: Patience, now: datetime
) -> Move:
    """What follows from a create that was not accepted."""
    seen = replace(submission, last_error=result.detail[:_MAX_REASON])
    if result.outcome is SubmitOutcome.UNKNOWN:
        return Move(replace(seen, state=State.UNKNOWN, lookups=0), due_in=patience.lookups[0])
    if submission.withdraw_reason is not None:
        return Move(replace(seen, state=State.CLOSED))
    if result.outcome is SubmitOutcome.REJECTED:
        return stuck(submission, result.detail, now)
    later = replace(seen, state=State.NEW, failures=seen.failures + 1)
    return Move(later, due_in=patience.after_failures(later.failures))


def unreachable(submission: Submission, error: str, patience: Patience) -> Move:
    """The OA did not answer a question: ask again later, for as long as it takes."""
    back = {State.SUBMITTING: State.UNKNOWN, State.RESOLVING: State.UNKNOWN}
    seen = replace(
        submission,
        state=back.get(submission.state, submission.state),
        failures=submission.failures + 1,
        last_error=error[:_MAX_REASON],
    )
    return Move(seen, due_in=patience.after_failures(seen.failures))


def keeper(instances: Sequence[Instance], content_hash: str) -> Instance | None:
    """Of several processes for one document the oldest with its content; the others must go."""
    return next((one for one in instances if one.content_hash == content_hash), None)


def looked_up(
    submission: Submission, instances: Sequence[Instance], patience: Patience, now: datetime
) -> Move:
    """What follows from the processes that the OA has under the business key, oldest first."""
    found = keeper(instances, submission.content_hash)
    if found is not None:
        return _opened(submission, found, now)
    if instances:
        return stuck(submission, "the OA holds it with another content hash, or without one", now)
    return _found_nothing(submission, patience, now)


def _found_nothing(submission: Submission, patience: Patience, now: datetime) -> Move:
    """Look again while something may still turn up; then it does not exist: create it anew."""
    seen = replace(submission, lookups=submission.lookups + 1, failures=0)
    if seen.lookups < len(patience.lookups):
        return Move(replace(seen, state=State.UNKNOWN), due_in=patience.lookups[seen.lookups])
    if seen.withdraw_reason is not None:
        return Move(replace(seen, state=State.CLOSED))
    if seen.instance_id is not None:
        return stuck(seen, "the OA accepted it and cannot find it by its business key", now)
    if seen.attempt >= patience.attempts:
        return stuck(seen, f"not created after {seen.attempt} attempts: {seen.last_error}", now)
    again = replace(seen, state=State.NEW, attempt=seen.attempt + 1, lookups=0)
    return Move(again, due_in=_AT_ONCE)


def _opened(submission: Submission, found: Instance, now: datetime) -> Move:
    is_wanted = submission.withdraw_reason is None
    opened = replace(
        submission,
        state=State.SUBMITTED if is_wanted else State.WITHDRAWING,
        instance_id=found.instance_id,
        opened_at=now,
        failures=0,
        last_error=None,
    )
    # The first look follows at once: what the OA called back before this commit was not ours yet.
    return Move(opened, (OAInstanceOpened(**_of(opened), opened_at=now),), due_in=_AT_ONCE)


def followed(submission: Submission, snapshot: Snapshot, patience: Patience, now: datetime) -> Move:
    """What follows from the process as the OA reports it: nothing is ever said twice."""
    new = _countable(submission, snapshot)
    facts = [_decided(submission, snapshot, index) for index in new]
    seen = replace(submission, steps_seen=new.stop, failures=0, last_error=None)
    if seen.drift is None and (found := _drift(seen, snapshot)):
        drift, detail = found
        about = {"drift": drift, "detail": detail[:_MAX_REASON], "detected_at": now}
        facts.append(OADriftDetected(**_of(seen), **about))
        seen = replace(seen, drift=drift)
    if snapshot.status is not Status.PENDING:
        status, ended_at = InstanceStatus(snapshot.status.value), snapshot.ended_at or now
        facts.append(OAInstanceClosed(**_of(seen), status=status, closed_at=ended_at))
        return Move(replace(seen, state=State.CLOSED), tuple(facts))
    if seen.state is State.WITHDRAWING:
        kept = replace(seen, failures=submission.failures + 1, last_error="the OA has not ended it")
        return Move(kept, tuple(facts), due_in=patience.after_failures(kept.failures))
    return Move(seen, tuple(facts), due_in=patience.until_next_poll(now - (seen.opened_at or now)))


def _countable(submission: Submission, snapshot: Snapshot) -> range:
    """The new steps that count: of the content that was sent, up to the first one by a stranger."""
    start = stop = submission.steps_seen
    if submission.drift is None and snapshot.content_hash == submission.content_hash:
        for step in snapshot.steps[start:]:
            if step.decided_by not in submission.form.approvers:
                break
            stop += 1
    return range(start, stop)


def _drift(seen: Submission, snapshot: Snapshot) -> tuple[Drift, str] | None:
    if snapshot.status is Status.VANISHED:
        return Drift.VANISHED, "the OA no longer knows the process"
    if snapshot.content_hash != seen.content_hash:
        return Drift.CONTENT_MISMATCH, f"the OA shows content {snapshot.content_hash or 'none'}"
    if len(snapshot.steps) > seen.steps_seen:
        stranger = snapshot.steps[seen.steps_seen].decided_by
        return Drift.UNKNOWN_PERSON, f"decided by {stranger}, who is not on the route"
    return None


def _of(submission: Submission) -> dict[str, Any]:
    """The fields that every fact about a process begins with."""
    return {
        "document_id": submission.document_id,
        "revision": submission.revision,
        "tenant": submission.tenant,
        "instance_id": submission.instance_id,
    }


def _decided(submission: Submission, snapshot: Snapshot, index: int) -> Event:
    step = snapshot.steps[index]
    return OADecisionReceived(
        **_of(submission),
        step=submission.form.step(index),
        decision=Decision(step.outcome or "UNKNOWN"),
        decided_by=step.decided_by,
        content_hash=submission.content_hash,
        opinion=step.opinion[:_MAX_OPINION] if step.opinion else None,
        decided_at=step.decided_at,
    )
