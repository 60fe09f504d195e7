"""Which event goes where."""

from chassis import on_batch
from events.claims import ClaimSubmitted, ClaimWithdrawn
from events.directory import DepartmentUpdated, EmployeeUpdated
from events.oa import OADecisionReceived, OADriftDetected, OAInstanceClosed

from workflow.approval import handlers as approval_handlers
from workflow.directory import handlers as directory_handlers

SUBSCRIPTIONS = (
    on_batch((ClaimSubmitted, ClaimWithdrawn), approval_handlers.on_claims),
    on_batch((OADecisionReceived, OAInstanceClosed, OADriftDetected), approval_handlers.on_oa),
    on_batch(EmployeeUpdated, approval_handlers.on_employees),
    on_batch(DepartmentUpdated, directory_handlers.on_departments),
)
