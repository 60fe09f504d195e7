"""All SQL of approvals, their tasks, acts and deadlines, one function per question."""

from workflow.approval.store.deadlines import add_dues, forget_dues, now, put_off_due, take_due
from workflow.approval.store.loading import (
    approvals_asking,
    approvals_for_change,
    approvals_of_tasks,
    assignees,
    latest_for_change,
    lock_approvals,
)
from workflow.approval.store.reading import (
    INBOX,
    DoneAct,
    acts,
    in_trouble,
    inbox,
    is_copied,
    last_urged,
    of_document,
    of_task,
    revision_with,
)
from workflow.approval.store.saving import add_acts, add_approvals, save_approvals, save_tasks

__all__ = [
    "INBOX",
    "DoneAct",
    "acts",
    "add_acts",
    "add_approvals",
    "add_dues",
    "approvals_asking",
    "approvals_for_change",
    "approvals_of_tasks",
    "assignees",
    "forget_dues",
    "in_trouble",
    "inbox",
    "is_copied",
    "last_urged",
    "latest_for_change",
    "lock_approvals",
    "now",
    "of_document",
    "of_task",
    "put_off_due",
    "revision_with",
    "save_approvals",
    "save_tasks",
    "take_due",
]
