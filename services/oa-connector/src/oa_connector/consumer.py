"""Which event goes to which handler."""

from chassis import on
from events.workflow import ApprovalCancelled, ApprovalDecided, ApprovalRequested

from oa_connector import handlers

SUBSCRIPTIONS = (
    on(ApprovalRequested, handlers.on_approval_requested),
    on(ApprovalDecided, handlers.on_approval_decided),
    on(ApprovalCancelled, handlers.on_approval_cancelled),
)
