"""What is done about a task that was not decided in its time."""

from events.workflow import ApprovalOverdue, Closing, OverdueAction, Verb

from workflow.approval.domain.approval import Approval
from workflow.approval.domain.deciding import decided
from workflow.approval.domain.task import TONGLU, Due, Task, TaskStatus, Verdict
from workflow.approval.domain.turns import Moment, above


def acted_on(approval: Approval, due: Due, moment: Moment) -> Approval:
    """Remind, ask the one above, or decide as the definition says. A task that has ended: nothing.

    What the OA decides is only reminded of; where no one is above who is not asked or has not
    handed it on, whoever is asked stays asked.
    """
    task = approval.task(due.task_id)
    if task is None or task.status is not TaskStatus.OPEN:
        return approval
    if task.native and due.action is OverdueAction.ESCALATE:
        others = approval.others_of(task)
        found = above(task.meant, approval.submitter_id, others, moment.directory)
        gave = {
            one.assignee_id for one in approval.seat_of(task) if one.closing is Closing.TRANSFERRED
        }
        asked = {task.assignee_id, *others, *gave}
        if found is not None and not found.by_administrator and found.approver_id not in asked:
            said = _overdue(approval, task, due, OverdueAction.ESCALATE, moment)
            return said.moved(task, found, Verb.ESCALATE, Closing.ESCALATED, moment)
    if task.native and due.decision is not None and due.action is OverdueAction.DECIDE:
        said = _overdue(approval, task, due, OverdueAction.DECIDE, moment)
        verdict = Verdict(
            decision=due.decision,
            by=task.assignee_id,
            via=TONGLU,
            content_hash=approval.content_hash,
            decided_at=moment.now,
            automatic=f"overdue(step {task.step}: {due.decision} by the definition)",
        )
        return decided(said, task, verdict, moment)
    return _overdue(approval, task, due, OverdueAction.REMIND, moment)


def _overdue(
    approval: Approval, task: Task, due: Due, action: OverdueAction, moment: Moment
) -> Approval:
    return approval.saying(
        ApprovalOverdue(
            document_id=approval.document_id,
            revision=approval.revision,
            task_id=task.task_id,
            step=task.step,
            assignee_id=task.assignee_id,
            due_at=task.due_at or due.at,
            action=action,
            overdue_at=moment.now,
        )
    )
