"""Which event goes where."""

from chassis import on_batch
from events.workflow import ApprovalDecided, ApprovalRevoked

from claims.payment import handlers as payment_handlers
from claims.timeline import handlers as timeline_handlers
from claims.timeline.domain import ROAD

SUBSCRIPTIONS = (
    on_batch((ApprovalDecided, ApprovalRevoked), payment_handlers.on_approvals),
    on_batch(ROAD, timeline_handlers.record),
)
