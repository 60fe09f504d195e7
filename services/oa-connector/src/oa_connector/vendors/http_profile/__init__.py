"""Any OA with an HTTP interface, described by a profile in YAML."""

from oa_connector.vendors.http_profile.adapter import HttpProfile, callbacks
from oa_connector.vendors.http_profile.model import Profile, load_profile

__all__ = ["HttpProfile", "Profile", "callbacks", "load_profile"]
