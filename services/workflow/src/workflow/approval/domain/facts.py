"""What is said of one task when it comes and when it ends."""

from datetime import datetime

from events import DocumentId
from events.workflow import (
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Closing,
)

from workflow.approval.domain.task import Task, Verdict

Place = tuple[DocumentId, int]  # a document and its revision


def assigned(place: Place, task: Task) -> ApprovalTaskAssigned:
    return ApprovalTaskAssigned(
        document_id=place[0],
        revision=place[1],
        task_id=task.task_id,
        step=task.step,
        step_name=task.name,
        assignee_id=task.assignee_id,
        assigned_at=task.assigned_at,
        due_at=task.due_at,
        verb=task.verb,
        acting_for=task.acting_for,
    )


def closed(place: Place, task: Task, closing: Closing, now: datetime) -> ApprovalTaskClosed:
    return ApprovalTaskClosed(
        document_id=place[0],
        revision=place[1],
        task_id=task.task_id,
        step=task.step,
        assignee_id=task.assignee_id,
        closing=closing,
        closed_at=now,
    )


def decided(place: Place, task: Task, verdict: Verdict) -> ApprovalTaskDecided:
    return ApprovalTaskDecided(
        document_id=place[0],
        revision=place[1],
        task_id=task.task_id,
        step=task.step,
        decision=verdict.decision,
        decided_by=verdict.by,
        via=verdict.via,
        content_hash=verdict.content_hash,
        opinion=verdict.opinion,
        decided_at=verdict.decided_at,
        acting_for=task.acting_for,
        automatic=verdict.automatic,
    )
