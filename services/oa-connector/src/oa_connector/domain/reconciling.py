"""Comparing what an OA lists with what we know: which difference it is, and what mends it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from events import DocumentId, Event, InstanceId, TaskId, TenantId
from events.oa import Drift, OADriftDetected

from oa_connector.domain.answers import Instance, Status, Window
from oa_connector.domain.following import drifted, ended_again, repaired
from oa_connector.domain.submission import (
    AT_ONCE,
    MAX_REASON,
    Farewell,
    Move,
    State,
    Submission,
    anew,
)

# `document@revision`, or the id of a task: `document.revision.step.turn`.
_KEY = re.compile(r"(?P<document>[0-9A-Za-z-]{1,64})(?:@(?P<whole>\d{1,9})|\.(?P<task>\d{1,9})\.)")

_ROUNDING = timedelta(seconds=1)  # an OA's clock is read in whole seconds


class Repair(StrEnum):
    """What an administrator can have done about a difference."""

    READ_AGAIN = "read_again"  # somebody has put it right: what no longer differs counts
    WITHDRAW = "withdraw"  # end the process in the OA
    SEND_AGAIN = "send_again"  # look for it, and create it anew where it is not there
    DISMISS = "dismiss"  # both sides are known, and nothing is to be done


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one whole comparison came to: listed by the OA, read one by one, ghosts ended."""

    listed: int
    read: int
    ghosts: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference with both sides, which waits for a person. Ids of a stranger are guesses."""

    tenant: TenantId
    business_key: str
    document_id: DocumentId
    revision: int
    task_id: TaskId | None
    instance_id: InstanceId | None
    drift: Drift
    detail: str


def window_since(
    watermark: datetime | None, now: datetime, offset: timedelta, overlap: timedelta
) -> Window:
    """What to list, in the OA's own time: from the last watermark, with an overlap for its clock.

    Without a watermark it is one day back: what is older, our own open set finds.
    """
    ends = now + offset + _ROUNDING
    begins = ends - timedelta(days=1) if watermark is None else watermark
    return Window(begins - overlap, ends)


def compared(submission: Submission, listed: Instance) -> Move | None:
    """What a listed process says about its submission; None: nothing that we do not know."""
    if submission.instance_id is not None and submission.instance_id != listed.instance_id:
        return None  # a ghost: see `is_ghost`
    if submission.instance_id is None and not listed.is_open:
        return None  # it was given up before it turned up, and has ended too
    is_approved = submission.status is Status.APPROVED
    match submission.state:
        case State.SUBMITTED if not listed.is_open or _has_moved(submission, listed):
            return Move(replace(submission, missed=Drift.MISSED_CALLBACK), due_in=AT_ONCE)
        case State.CLOSED if listed.is_open and submission.farewell and not is_approved:
            # It may be a create that nobody had found when it was given up.
            return ended_again(replace(submission, instance_id=listed.instance_id))
        case State.CLOSED if (listed.is_open and is_approved) or _has_moved(submission, listed):
            return Move(submission, due_in=AT_ONCE)  # taken back, perhaps: it is read first
        case _:
            return None


def _has_moved(submission: Submission, listed: Instance) -> bool:
    if listed.changed_at is None or not submission.version:
        return listed.changed_at is not None
    newest = int(listed.changed_at.timestamp() * 1_000_000)
    return newest > submission.version[0]


def is_ghost(submission: Submission, listed: Instance) -> bool:
    """A second process for one submission, which has its own already. Nobody should decide it."""
    known = submission.instance_id
    is_settled = submission.state in {State.SUBMITTED, State.WITHDRAWING, State.CLOSED}
    return is_settled and listed.is_open and known is not None and known != listed.instance_id


def ghost_ended(submission: Submission, ghost: InstanceId, now: datetime) -> Event:
    repair = f"ended {ghost}, kept {submission.instance_id}"
    return repaired(replace(submission, instance_id=ghost), Drift.GHOST, repair, now)


def ghost_left(submission: Submission, ghost: InstanceId, now: datetime) -> Event:
    """The OA does not end the second process: a person must."""
    detail = f"the OA runs {ghost} beside {submission.instance_id}, and has not ended it"
    return drifted(replace(submission, instance_id=ghost), Drift.GHOST, detail, now)


_SENT_ANEW = {Drift.VANISHED, Drift.CONTENT_MISMATCH}


class RepairNotPossibleError(Exception):
    """That would mend nothing; `possible` names what would."""

    def __init__(self, drift: Drift, possible: Sequence[Repair]) -> None:
        super().__init__(drift)
        self.drift = drift
        self.possible = ", ".join(possible)


def demand_possible(drift: Drift, submission: Submission | None, repair: Repair) -> None:
    """Refuse what would close the case and do nothing, or ask people whose answers do not count.

    Raises:
        RepairNotPossibleError: naming what is possible.
    """
    possible = [Repair.WITHDRAW, Repair.DISMISS]
    if drift is Drift.GHOST:
        possible = [Repair.READ_AGAIN, *possible]
    elif drift is not Drift.ORPHAN and submission is not None:
        if submission.instance_id is not None:
            possible = [Repair.READ_AGAIN, *possible]
        else:
            possible.remove(Repair.WITHDRAW)
        # A whole approval that differs is decided in Tonglu from then on, whatever the OA says; and
        # a process that fits would only be taken up again.
        if submission.task_id is not None and drift in _SENT_ANEW:
            possible.append(Repair.SEND_AGAIN)
    if repair not in possible:
        raise RepairNotPossibleError(drift, possible)


def mended(submission: Submission, drift: Drift, repair: Repair, now: datetime, by: str) -> Move:
    """What an administrator had done about a difference.

    To read again believes nothing: what still differs is found again. `due_in` None: nothing
    changes. Of ghosts and orphans the next reconciliation takes care: they are no part of it.
    """
    fact = (repaired(submission, drift, repair, now, by),)
    trusted = replace(submission, drift=None) if submission.drift is drift else submission
    is_beside = drift in {Drift.GHOST, Drift.ORPHAN}
    has_ended = drift is Drift.LOST_PUSH and submission.state is State.CLOSED
    match repair:
        case _ if is_beside or has_ended:
            return Move(submission, fact)
        case Repair.READ_AGAIN | Repair.WITHDRAW if drift is Drift.LOST_PUSH:
            again = replace(submission, state=State.WITHDRAWING, missed=None, tries=0)
            return Move(again, fact, due_in=AT_ONCE)
        case Repair.READ_AGAIN:
            is_over = submission.farewell is not None
            state = State.WITHDRAWING if is_over else State.SUBMITTED
            return Move(replace(trusted, state=state, tries=0), fact, due_in=AT_ONCE)
        case Repair.WITHDRAW:
            farewell = submission.farewell or Farewell(f"withdrawn by {by}")
            wanted = replace(submission, state=State.WITHDRAWING, farewell=farewell, tries=0)
            return Move(wanted, fact, due_in=AT_ONCE)
        case Repair.SEND_AGAIN:
            return Move(anew(submission), fact, due_in=AT_ONCE)
        case _:
            return Move(submission, fact)


def orphan(tenant: TenantId, listed: Instance) -> Difference | None:
    """An open process by a key of ours that we know nothing of; None: it is no key of ours."""
    found = _KEY.match(listed.business_key or "")
    if found is None or not listed.is_open:
        return None
    key = str(listed.business_key)
    return Difference(
        tenant=tenant,
        business_key=key,
        document_id=DocumentId(found["document"]),
        revision=max(1, int(found["whole"] or found["task"])),
        task_id=TaskId(key) if found["task"] else None,
        instance_id=listed.instance_id,
        drift=Drift.ORPHAN,
        detail=f"the OA runs {listed.instance_id} under {key}, and we never sent it"[:MAX_REASON],
    )


def told(difference: Difference, now: datetime) -> OADriftDetected:
    return OADriftDetected(
        document_id=difference.document_id,
        revision=difference.revision,
        tenant=difference.tenant,
        task_id=difference.task_id,
        instance_id=difference.instance_id or InstanceId("none"),
        drift=difference.drift,
        detail=difference.detail,
        detected_at=now,
    )
