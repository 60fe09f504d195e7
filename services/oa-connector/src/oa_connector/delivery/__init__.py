"""Takes due submissions, calls the OA with no transaction open, and records what it said."""

from oa_connector.delivery.lanes import Delivery
from oa_connector.delivery.pace import Pace
from oa_connector.delivery.probing import Probe
from oa_connector.delivery.reconciliation import Reconciliation

__all__ = ["Delivery", "Pace", "Probe", "Reconciliation"]
