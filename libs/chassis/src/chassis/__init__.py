"""How a service runs, in six words: Tx, on, Retry, Reject, Service, ServiceSettings."""

from chassis.db import Database, Origin, Tx
from chassis.service import Service
from chassis.settings import ServiceSettings
from chassis.subscriptions import Received, Subscription, on, on_batch
from chassis.words import Reject, Retry

__all__ = [
    "Database",
    "Origin",
    "Received",
    "Reject",
    "Retry",
    "Service",
    "ServiceSettings",
    "Subscription",
    "Tx",
    "on",
    "on_batch",
]
