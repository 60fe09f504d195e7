"""Which event goes where."""

from chassis import on, on_batch
from events.workflow import ApprovalDecided

from claims.payment import handlers as payment_handlers
from claims.timeline import handlers as timeline_handlers
from claims.timeline.domain import ROAD

SUBSCRIPTIONS = (
    on(ApprovalDecided, payment_handlers.on_approval_decided),
    on_batch(ROAD, timeline_handlers.record),
)
