"""Which event goes to which handler."""

from chassis import on
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
)

from oa_connector import handlers

SUBSCRIPTIONS = (
    on(ApprovalRequested, handlers.on_approval_requested),
    on(ApprovalTaskAssigned, handlers.on_task_assigned),
    on(ApprovalTaskDecided, handlers.on_task_decided),
    on(ApprovalTaskClosed, handlers.on_task_closed),
    on(ApprovalDecided, handlers.on_approval_decided),
    on(ApprovalCancelled, handlers.on_approval_cancelled),
)
