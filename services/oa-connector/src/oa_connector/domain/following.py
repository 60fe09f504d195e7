"""What follows from a process as the OA reports it: nothing is ever said twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

from events import Event
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OADriftRepaired,
    OAInstanceClosed,
)
from events.workflow import Decision

from oa_connector.domain.answers import DecidedStep, Snapshot, Status
from oa_connector.domain.submission import (
    AT_ONCE,
    MAX_REASON,
    Move,
    Patience,
    State,
    Submission,
    next_reread,
)

RECONCILIATION = "reconciliation"  # who made a safe repair
_MAX_OPINION = 1000
_OUTCOME = {
    Decision.APPROVE: Status.APPROVED,
    Decision.REJECT: Status.REJECTED,
    Decision.RETURN: Status.RETURNED,
}
# The ends that an approval of ours can have been taken back to.
_TAKEN_BACK = {
    Status.PENDING,
    Status.REJECTED,
    Status.RETURNED,
    Status.WITHDRAWN,
    Status.TERMINATED,
    Status.EXPIRED,
}
_FOLLOWED = {State.SUBMITTED, State.WITHDRAWING, State.CLOSED}
_THOUGHT_BETTER = {Status.PENDING, Status.APPROVED}


def followed(
    submission: Submission,
    snapshot: Snapshot,
    patience: Patience,
    now: datetime,
    *,
    is_asked: bool = True,
) -> Move:
    """The next state of a submission whose process was read.

    `is_asked` False: the OA was not asked to end it yet, since the wish came during the reading.
    """
    if submission.state not in _FOLLOWED:
        return Move(submission, due_in=AT_ONCE)  # a person has had it sent anew during the reading
    if snapshot.version and snapshot.version < submission.version:
        return _next_look(submission, (), patience, now)  # an answer that was overtaken
    newest = replace(submission, version=snapshot.version or submission.version)
    if submission.state is State.CLOSED:
        return _reread(newest, snapshot, patience, now)
    seen, facts = _read(newest, snapshot, now)
    if snapshot.may_run:  # a word that we do not know ends nothing: it is a drift, and read again
        if seen.state is State.WITHDRAWING and is_asked:
            seen, facts = _not_ended(seen, facts, patience, now)
        return replace(_next_look(seen, facts, patience, now), seen=snapshot)
    closed = replace(
        seen, state=State.CLOSED, status=snapshot.status, rereads=0, tries=0, ended_at=now
    )
    facts = (*facts, _closed(closed, InstanceStatus(snapshot.status.value), snapshot, now))
    return replace(_next_look(closed, facts, patience, now), seen=snapshot)


def _next_look(
    seen: Submission, facts: tuple[Event, ...], patience: Patience, now: datetime
) -> Move:
    age = now - (seen.opened_at or now)
    match seen.state:
        case State.CLOSED:
            return Move(seen, facts, due_in=next_reread(seen, patience, now))
        case State.WITHDRAWING if seen.tries >= patience.refusals:  # a person knows
            return Move(seen, facts, due_in=patience.poll_old)
        case State.WITHDRAWING:
            return Move(seen, facts, due_in=patience.after_failures(max(1, seen.tries)))
        case _:
            return Move(seen, facts, due_in=patience.until_next_poll(age))


def _not_ended(
    seen: Submission, facts: tuple[Event, ...], patience: Patience, now: datetime
) -> tuple[Submission, tuple[Event, ...]]:
    """The OA still runs what we wanted ended: asked again, and after some times a person is told.

    It is a difference of its own and decides nothing: `drift` stays free for another.
    """
    again = replace(seen, tries=seen.tries + 1, last_error="the OA has not ended it")
    if again.tries != patience.refusals:
        return again, facts
    told = drifted(again, Drift.LOST_PUSH, "the OA still runs what was withdrawn", now)
    return replace(again, missed=Drift.LOST_PUSH), (*facts, told)


def _read(
    submission: Submission, snapshot: Snapshot, now: datetime
) -> tuple[Submission, tuple[Event, ...]]:
    """The new decisions that count, and the first difference that there is."""
    new = _countable(submission, snapshot)
    told = _told(submission, snapshot)
    whose = [*submission.deciders, *[""] * len(told)][: len(told)]
    count = submission.steps_seen
    facts: list[Event] = [_decided(submission, step, at) for at, step in enumerate(new, count)]
    seen = replace(
        submission,
        steps_seen=count + len(new),
        told=(*told, *(step.step_id for step in new)),
        deciders=(*whose, *(step.decider for step in new)),
        failures=0,
        last_error=None,
    )
    if seen.drift is None and (found := _drift(seen, snapshot)):
        facts.append(drifted(seen, *found, now))
        seen = replace(seen, drift=found[0])
    if seen.missed is not None:
        # What we ended is lost until it has ended; what was missed shows at the first reading.
        is_read = seen.missed is not Drift.LOST_PUSH
        if not snapshot.may_run or (is_read and facts):
            facts.append(repaired(seen, seen.missed, "read again", now))
            is_read = True
        seen = replace(seen, missed=None if is_read else seen.missed)
    return seen, tuple(facts)


def _countable(submission: Submission, snapshot: Snapshot) -> list[DecidedStep]:
    """The new steps that count: of the content that was sent, up to the first one by a stranger.

    None, where one that was told is somebody else's decision now.
    """
    is_ours = snapshot.content_hash == submission.content_hash
    if submission.drift is not None or not is_ours or _is_other_amount(submission, snapshot):
        return []
    if _changed_hands(submission, snapshot):
        return []
    approvers = submission.form.approvers
    return list(takewhile(lambda step: step.decided_by in approvers, _untold(submission, snapshot)))


def _told(submission: Submission, snapshot: Snapshot) -> Sequence[str]:
    """The steps that were told. A release that counted them has told the first ones."""
    if len(submission.told) == submission.steps_seen:
        return submission.told
    return [step.step_id for step in snapshot.steps[: submission.steps_seen]]


def _changed_hands(submission: Submission, snapshot: Snapshot) -> DecidedStep | None:
    """A step that was told, and that another person has decided since.

    An account that only goes by another name now has decided when it had.
    """
    for step_id, decider in zip(submission.told, submission.deciders, strict=False):
        shown = [step for step in snapshot.steps if step.step_id == step_id]
        who, _, at = decider.rpartition(" ")
        is_other = [step.decided_by != who and step.decided_at.isoformat() != at for step in shown]
        if who and shown and all(is_other):
            return shown[0]
    return None


def _untold(submission: Submission, snapshot: Snapshot) -> list[DecidedStep]:
    """By their ids: of two of one moment the OA may list either first, or one late.

    A step that the OA calls by the id of another one is no less a step.
    """
    told = Counter(_told(submission, snapshot))
    left = []
    for step in snapshot.steps:
        if told[step.step_id] > 0:
            told[step.step_id] -= 1
        else:
            left.append(step)
    return left


def _is_other_amount(submission: Submission, snapshot: Snapshot) -> bool:
    return snapshot.amount is not None and snapshot.amount != submission.amount


def _drift(seen: Submission, snapshot: Snapshot) -> tuple[Drift, str] | None:
    if snapshot.status is Status.VANISHED:
        return Drift.VANISHED, "the OA no longer knows the process"
    if snapshot.status is Status.UNKNOWN:
        return Drift.STATE_CONFLICT, "the OA calls its state by a word that we do not know"
    if snapshot.content_hash != seen.content_hash:
        return Drift.CONTENT_MISMATCH, f"the OA shows content {snapshot.content_hash or 'none'}"
    if _is_other_amount(seen, snapshot):
        return Drift.AMOUNT_MISMATCH, f"the OA shows {snapshot.amount}, sent was {seen.amount}"
    if stranger := _stranger(seen, snapshot):
        return Drift.UNKNOWN_PERSON, stranger
    return _conflict(seen, snapshot)


def _stranger(seen: Submission, snapshot: Snapshot) -> str | None:
    """Who decided and was not asked; or who is asked and cannot decide, having no account there."""
    if (changed := _changed_hands(seen, snapshot)) is not None:
        return f"a step that was told as another person's is decided by {changed.decided_by} now"
    if untold := _untold(seen, snapshot):
        return f"decided by {untold[0].decided_by}, who is not on the route"
    if snapshot.missing and seen.state is State.SUBMITTED:
        step = seen.form.step(seen.steps_seen)
        return f"step {step} asks {', '.join(snapshot.missing)}, who has no open account there"
    return None


def _conflict(seen: Submission, snapshot: Snapshot) -> tuple[Drift, str] | None:
    """Decided here, and otherwise there: the first decision counts, and a person must know."""
    ours = seen.farewell.decision if seen.farewell is not None else None
    expected = _OUTCOME.get(ours) if ours is not None else None
    decided = {Status.APPROVED, Status.REJECTED, Status.RETURNED}
    if expected is None or snapshot.status not in decided or snapshot.status is expected:
        return None
    return Drift.STATE_CONFLICT, f"decided in Tonglu as {ours}; the OA says {snapshot.status}"


def _reread(closed: Submission, snapshot: Snapshot, patience: Patience, now: datetime) -> Move:
    """A process that had ended, read again: an end is not for ever."""
    seen = replace(closed, rereads=closed.rereads + 1, failures=0, last_error=None, missed=None)
    is_approved = closed.status is Status.APPROVED
    if closed.farewell is not None and snapshot.status is Status.PENDING and not is_approved:
        return replace(ended_again(seen), seen=snapshot)
    if closed.drift is not None:
        return _next_look(seen, (), patience, now)  # a person is looking into it
    facts: tuple[Event, ...] = ()
    found = _conflict(closed, snapshot) or _reopened(closed, snapshot)
    if is_approved and snapshot.status in _TAKEN_BACK:
        seen = replace(seen, status=snapshot.status)
        facts = (_closed(seen, InstanceStatus.REVOKED, snapshot, now),)
    elif is_approved and snapshot.status is not closed.status:
        found = _drift(seen, snapshot)
    if found is not None and not facts:
        seen = replace(seen, drift=found[0])
        facts = (drifted(seen, *found, now),)
    return replace(_next_look(seen, facts, patience, now), seen=snapshot)


def ended_again(closed: Submission) -> Move:
    """The OA runs what was ended in Tonglu: it has lost our withdrawal, or somebody took it up."""
    lost = replace(closed, state=State.WITHDRAWING, missed=Drift.LOST_PUSH, tries=0)
    return Move(lost, due_in=AT_ONCE)


def _reopened(closed: Submission, snapshot: Snapshot) -> tuple[Drift, str] | None:
    """It was no approval any more, and the OA has thought better of it: never a yes for us."""
    is_ours = closed.farewell is not None and closed.farewell.decision is not None
    is_other = snapshot.status in _THOUGHT_BETTER and snapshot.status is not closed.status
    if is_ours or not is_other or closed.status not in _TAKEN_BACK:
        return None
    return (
        Drift.STATE_CONFLICT,
        f"it was {closed.status} in the OA, which now says {snapshot.status}",
    )


def drifted(submission: Submission, drift: Drift, detail: str, now: datetime) -> OADriftDetected:
    return OADriftDetected(
        **submission.facts, drift=drift, detail=detail[:MAX_REASON], detected_at=now
    )


def repaired(
    submission: Submission, drift: Drift, repair: str, now: datetime, by: str = RECONCILIATION
) -> OADriftRepaired:
    return OADriftRepaired(
        **submission.facts,
        drift=drift,
        repair=repair[:MAX_REASON],
        repaired_by=by,
        repaired_at=now,
    )


def _closed(
    submission: Submission, status: InstanceStatus, snapshot: Snapshot, now: datetime
) -> OAInstanceClosed:
    return OAInstanceClosed(**submission.facts, status=status, closed_at=snapshot.ended_at or now)


def _decided(submission: Submission, step: DecidedStep, index: int) -> OADecisionReceived:
    return OADecisionReceived(
        **submission.facts,
        step=submission.form.step(index),
        decision=Decision(step.outcome or "UNKNOWN"),
        decided_by=step.decided_by,
        content_hash=submission.content_hash,
        opinion=step.opinion[:_MAX_OPINION] if step.opinion else None,
        decided_at=step.decided_at,
    )
