"""Which event goes to which handler."""

from collections.abc import Collection

from chassis import Subscription, on, on_batch
from events.claims import (
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    PaymentFailed,
    PaymentSettled,
)
from events.directory import EmployeeUpdated
from events.notices import ChannelName
from events.oa import OADriftDetected, OASubmissionStuck
from events.workflow import ApprovalRequested, ApprovalTaskAssigned

from notifier import handlers
from notifier.domain import PIPELINE_EVENTS


def subscriptions(channels: Collection[ChannelName]) -> tuple[Subscription, ...]:
    """The table; people are told by these channels."""
    tell = handlers.Notices(channels)
    return (
        on_batch(EmployeeUpdated, handlers.on_employees_updated),
        on(ClaimSubmitted, handlers.on_claim_submitted),
        on(ApprovalRequested, handlers.on_approval_requested),
        on(ApprovalTaskAssigned, tell.on_task_assigned),
        on(ClaimReturned, tell.on_claim_returned),
        on(ClaimRejected, tell.on_claim_rejected),
        on(ClaimApproved, tell.on_claim_approved),
        on(PaymentSettled, tell.on_payment_settled),
        on(PaymentFailed, tell.on_payment_failed),
        on(OASubmissionStuck, tell.on_oa_stuck),
        on(OADriftDetected, tell.on_oa_drift),
        on_batch(PIPELINE_EVENTS, handlers.on_pipeline_events),
    )


SUBSCRIPTIONS = subscriptions((ChannelName.IN_APP, ChannelName.EMAIL, ChannelName.WEBHOOK))
