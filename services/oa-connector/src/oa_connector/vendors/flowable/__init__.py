"""Flowable 7 as the OA."""

from oa_connector.vendors.flowable.adapter import Flowable, FlowableAccess
from oa_connector.vendors.flowable.callbacks import FlowableCallbacks

__all__ = ["Flowable", "FlowableAccess", "FlowableCallbacks"]
