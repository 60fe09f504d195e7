"""Which event goes to which handler."""

from collections.abc import Collection

from chassis import Subscription, on, on_batch
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    PaymentFailed,
    PaymentSettled,
    PaymentStopped,
)
from events.directory import EmployeeUpdated
from events.notices import ChannelName
from events.oa import OAContractChanged, OADriftDetected, OASubmissionStuck
from events.workflow import (
    ApprovalActed,
    ApprovalOverdue,
    ApprovalRequested,
    ApprovalRevoked,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
)

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
        on_batch(ApprovalTaskDecided, handlers.on_tasks_ended),
        on_batch(ApprovalTaskClosed, handlers.on_tasks_ended),
        on(ApprovalActed, tell.on_acted),
        on(ApprovalOverdue, tell.on_overdue),
        on(ApprovalRevoked, tell.on_approval_revoked),
        on(ClaimApprovalRevoked, tell.on_claim_approval_revoked),
        on(ClaimReturned, tell.on_claim_returned),
        on(ClaimRejected, tell.on_claim_rejected),
        on(ClaimApproved, tell.on_claim_approved),
        on(PaymentSettled, tell.on_payment_settled),
        on(PaymentFailed, tell.on_payment_failed),
        on(PaymentStopped, tell.on_payment_stopped),
        on(OASubmissionStuck, tell.on_oa_stuck),
        on(OADriftDetected, tell.on_oa_drift),
        on(OAContractChanged, tell.on_oa_contract_changed),
        on_batch(PIPELINE_EVENTS, handlers.on_pipeline_events),
    )


SUBSCRIPTIONS = subscriptions((ChannelName.IN_APP, ChannelName.EMAIL, ChannelName.WEBHOOK))
