"""Which event goes where."""

from chassis import on, on_batch
from events.claims import ClaimSubmitted, ClaimWithdrawn
from events.directory import DepartmentUpdated, EmployeeUpdated
from events.oa import OADecisionReceived, OADriftDetected, OAInstanceClosed

from workflow import handlers

SUBSCRIPTIONS = (
    on(ClaimSubmitted, handlers.on_claim_submitted),
    on(ClaimWithdrawn, handlers.on_claim_withdrawn),
    on(OADecisionReceived, handlers.on_oa_decision),
    on(OAInstanceClosed, handlers.on_oa_closed),
    on(OADriftDetected, handlers.on_oa_drift),
    on_batch(EmployeeUpdated, handlers.on_employees),
    on_batch(DepartmentUpdated, handlers.on_departments),
)
