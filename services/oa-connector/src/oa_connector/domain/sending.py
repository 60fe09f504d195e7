"""What follows from creates and from searches by business key: never two processes for one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from events import InstanceId
from events.oa import OAInstanceOpened

from oa_connector.domain.answers import Idempotency, Instance, SubmitOutcome, SubmitResult
from oa_connector.domain.submission import (
    AT_ONCE,
    MAX_REASON,
    Move,
    Patience,
    State,
    Submission,
    next_reread,
    stuck,
)


def not_created(
    submission: Submission, result: SubmitResult, patience: Patience, now: datetime
) -> Move:
    """What follows from a create that was not accepted."""
    seen = replace(submission, last_error=result.detail[:MAX_REASON])
    if result.outcome is SubmitOutcome.DUPLICATE:
        return Move(replace(seen, state=State.UNKNOWN, lookups=0), due_in=AT_ONCE)
    if result.outcome is SubmitOutcome.UNKNOWN:
        return Move(replace(seen, state=State.UNKNOWN, lookups=0), due_in=patience.lookups[0])
    if submission.farewell is not None:
        return Move(replace(seen, state=State.CLOSED))
    if result.outcome is SubmitOutcome.REJECTED:
        return stuck(replace(submission, attempt=0), result.detail, now)
    later = replace(seen, state=State.NEW, failures=seen.failures + 1)
    return Move(later, due_in=patience.after_failures(later.failures))


def unreachable(
    submission: Submission,
    error: str,
    patience: Patience,
    now: datetime,
    *,
    is_hopeless: bool = False,
) -> Move:
    """The OA did not answer a question: ask again later, for as long as it takes.

    `is_hopeless`: of this one, asking does not mend it. What has ended is asked ever more seldom,
    and no longer than any other.
    """
    back = {State.SUBMITTING: State.UNKNOWN, State.RESOLVING: State.UNKNOWN}
    seen = replace(
        submission,
        state=back.get(submission.state, submission.state),
        failures=submission.failures + 1,
        last_error=error[:MAX_REASON],
    )
    if seen.state is State.CLOSED:
        is_watched = next_reread(seen, patience, now) is not None
        wait = patience.after_failures(seen.failures, patience.rereads[-1])
        return Move(seen, due_in=wait if is_watched else None)
    if is_hopeless:
        return stuck(seen, f"what the OA answers cannot be used: {error}", now)
    return Move(seen, due_in=patience.after_failures(seen.failures))


def broken(submission: Submission, fault: str, patience: Patience, now: datetime) -> Move:
    """What follows from its answers breaks here, time and again: a person must look.

    What has ended is not begun again, whoever looks.
    """
    reason = f"it cannot be worked on: {fault}"
    if submission.state is State.CLOSED:
        return unreachable(submission, reason, patience, now)
    return stuck(submission, reason, now)


def keeper(submission: Submission, instances: Sequence[Instance]) -> Instance | None:
    """Of several processes the oldest with its content; what is to end anyway need not fit.

    A second try keeps what runs, its own first: an older one may have ended long before.
    """
    fits = [one for one in instances if one.content_hash == submission.content_hash]
    if submission.attempt == 0:
        own = submission.instance_id
        fits.sort(key=lambda one: (not one.is_open, one.is_open and one.instance_id != own))
    oldest = next(iter(instances), None) if submission.farewell is not None else None
    return next(iter(fits), oldest)


def unwanted(submission: Submission, instances: Sequence[Instance]) -> list[InstanceId]:
    """Processes that the OA is to end: beside the one that is kept, or all where it begins anew."""
    kept = keeper(submission, instances)
    if kept is None and (submission.attempt > 0 or submission.farewell is not None):
        return []
    found = [one.instance_id for one in instances if one.is_open and one is not kept]
    listed = {one.instance_id for one in instances}
    own = submission.instance_id
    return found if own is None or own in listed else [*found, own]


def looked_up(
    submission: Submission,
    instances: Sequence[Instance],
    patience: Patience,
    now: datetime,
    left: Sequence[InstanceId] = (),
) -> Move:
    """What follows from the processes that the OA has under the business key, oldest first.

    `left`: unwanted ones that the OA has not ended.
    """
    found = keeper(submission, instances)
    if found is not None:
        return _opened(submission, found, now)
    if submission.attempt == 0 and left:
        why = f"the OA has not ended {left[0]}, which does not fit"
        return stuck(replace(submission, instance_id=left[0]), why, now)
    if submission.attempt == 0 and submission.farewell is None:
        return _found_nothing(_unbound(submission), patience, now)
    if instances:
        named = replace(submission, instance_id=instances[0].instance_id)
        lost = "the OA holds it with another content hash, or without one"
        return replace(stuck(named, lost, now), is_form_broken=submission.attempt == 1)
    return _found_nothing(submission, patience, now)


def _unbound(submission: Submission) -> Submission:
    """Without the process that it had, and without what was seen of that one."""
    blank = replace(submission, instance_id=None, version=(), status=None, drift=None)
    return replace(blank, steps_seen=0, told=(), deciders=())


def _found_nothing(submission: Submission, patience: Patience, now: datetime) -> Move:
    """Look again while something may still turn up; then it does not exist: create it anew."""
    seen = replace(submission, lookups=submission.lookups + 1, failures=0)
    if seen.lookups < len(patience.lookups):
        return Move(replace(seen, state=State.UNKNOWN), due_in=patience.lookups[seen.lookups])
    if seen.instance_id is not None:
        lost = "the OA accepted it and cannot find it by its business key"
        named = Instance(seen.instance_id, None, is_open=True)
        is_over = seen.farewell is not None
        move = _opened(seen, named, now) if is_over else stuck(seen, lost, now)
        return replace(move, is_form_broken=seen.attempt > 0)
    if patience.idempotency is Idempotency.NONE and seen.attempt > 0:  # else a person has looked
        return stuck(seen, f"it may exist, and the OA cannot be searched: {seen.last_error}", now)
    if seen.farewell is not None:
        return Move(replace(seen, state=State.CLOSED))
    if seen.attempt >= patience.attempts:
        return stuck(seen, f"not created after {seen.attempt} attempts: {seen.last_error}", now)
    again = replace(seen, state=State.NEW, attempt=seen.attempt + 1, lookups=0)
    return Move(again, due_in=AT_ONCE)


def _opened(submission: Submission, found: Instance, now: datetime) -> Move:
    is_wanted = submission.farewell is None
    is_same = found.instance_id == submission.instance_id
    opened = replace(
        submission if is_same else _unbound(submission),
        state=State.SUBMITTED if is_wanted else State.WITHDRAWING,
        instance_id=found.instance_id,
        opened_at=now,
        failures=0,
        last_error=None,
    )
    # The first look follows at once: what the OA called back before this commit was not ours yet.
    return Move(opened, (OAInstanceOpened(**opened.facts, opened_at=now),), due_in=AT_ONCE)
