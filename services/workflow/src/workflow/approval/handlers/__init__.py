"""Load, decide, save, say: every way in which an approval changes."""

from workflow.approval.handlers.claims import on_claims
from workflow.approval.handlers.oa import on_oa, on_oa_closed, on_oa_decision, on_oa_drift
from workflow.approval.handlers.people import (
    Look,
    Refused,
    act_on_task,
    decide_task,
    decide_tasks,
    look_at_task,
)
from workflow.approval.handlers.time import (
    on_employees,
    overdue,
    reassign_for_window,
    reroute_leavers,
)

__all__ = [
    "Look",
    "Refused",
    "act_on_task",
    "decide_task",
    "decide_tasks",
    "look_at_task",
    "on_claims",
    "on_employees",
    "on_oa",
    "on_oa_closed",
    "on_oa_decision",
    "on_oa_drift",
    "overdue",
    "reassign_for_window",
    "reroute_leavers",
]
