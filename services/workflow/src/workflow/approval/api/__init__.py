"""Approvals over HTTP."""

from workflow.approval.api.refusals import REFUSALS
from workflow.approval.api.routes import router

__all__ = ["REFUSALS", "router"]
