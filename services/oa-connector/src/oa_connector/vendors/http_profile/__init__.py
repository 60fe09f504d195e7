"""Any OA with an HTTP interface, described by a profile in YAML."""

from oa_connector.vendors.http_profile.adapter import HttpProfile
from oa_connector.vendors.http_profile.model import Profile, load_profile
from oa_connector.vendors.profile import callbacks

__all__ = ["HttpProfile", "Profile", "callbacks", "load_profile"]
