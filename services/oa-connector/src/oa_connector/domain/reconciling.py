"""Comparing what an OA lists with what we know: which difference it is, and what mends it."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from events import DocumentId, InstanceId, TaskId, TenantId
from events.oa import Drift, OADriftDetected

from oa_connector.domain.answers import Instance, Window
from oa_connector.domain.following import repaired
from oa_connector.domain.submission import (
    AT_ONCE,
    MAX_REASON,
    Farewell,
    Move,
    State,
    Submission,
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
    match submission.state:
        case State.SUBMITTED if not listed.is_open:
            return Move(replace(submission, missed=Drift.MISSED_CALLBACK), due_in=AT_ONCE)
        case State.SUBMITTED if _has_moved(submission, listed):
            return Move(replace(submission, missed=Drift.MISSED_CALLBACK), due_in=AT_ONCE)
        case State.CLOSED if listed.is_open and submission.farewell is not None:
            again = replace(submission, state=State.WITHDRAWING, missed=Drift.LOST_PUSH)
            return Move(again, due_in=AT_ONCE)
        case State.CLOSED if _has_moved(submission, listed):
            return Move(submission, due_in=AT_ONCE)
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


def ghost_ended(submission: Submission, ghost: InstanceId, now: datetime) -> Move:
    fact = repaired(submission, Drift.GHOST, f"ended {ghost}, kept {submission.instance_id}", now)
    return Move(submission, (fact,))


def mended(submission: Submission, drift: Drift, repair: Repair, now: datetime, by: str) -> Move:
    """What an administrator had done about a difference.

    To read again believes nothing: what still differs is found again.
    """
    fact = (repaired(submission, drift, repair, now, by),)
    trusted = replace(submission, drift=None)
    match repair:
        case Repair.READ_AGAIN if submission.instance_id is not None:
            return Move(replace(trusted, state=State.SUBMITTED), fact, due_in=AT_ONCE)
        case Repair.WITHDRAW if submission.instance_id is not None:
            farewell = submission.farewell or Farewell(f"withdrawn by {by}")
            wanted = replace(submission, state=State.WITHDRAWING, farewell=farewell)
            return Move(wanted, fact, due_in=AT_ONCE)
        case Repair.SEND_AGAIN:
            again = replace(trusted, state=State.UNKNOWN, attempt=1, lookups=0, instance_id=None)
            return Move(again, fact, due_in=AT_ONCE)
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


def orphan_found(difference: Difference, now: datetime) -> OADriftDetected:
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
