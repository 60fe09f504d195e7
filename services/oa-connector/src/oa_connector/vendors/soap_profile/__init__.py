"""Any OA with a SOAP interface, described by a profile in YAML."""

from oa_connector.vendors.profile import callbacks
from oa_connector.vendors.soap_profile.adapter import SoapProfile, opened
from oa_connector.vendors.soap_profile.model import Profile, load_profile

__all__ = ["Profile", "SoapProfile", "callbacks", "load_profile", "opened"]
