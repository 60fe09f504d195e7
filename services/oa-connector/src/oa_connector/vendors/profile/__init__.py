"""An OA described as data: what the profiles of every transport have in common.

A profile is YAML without code: placeholders `${name}` on the way out, JSONPath on the way in.
A transport (HTTP, SOAP) adds its own kind of call and the function that makes one.
"""

from oa_connector.vendors.profile.callbacks import callbacks
from oa_connector.vendors.profile.loading import ProfileError, load, read
from oa_connector.vendors.profile.model import Call, ProfileBase
from oa_connector.vendors.profile.port import ProfiledOA
from oa_connector.vendors.profile.reading import Extractor, Reply, Sign
from oa_connector.vendors.profile.sight import Reader
from oa_connector.vendors.profile.writing import UnsendableError, Values, names, plain, rendered

__all__ = [
    "Call",
    "Extractor",
    "ProfileBase",
    "ProfileError",
    "ProfiledOA",
    "Reader",
    "Reply",
    "Sign",
    "UnsendableError",
    "Values",
    "callbacks",
    "load",
    "names",
    "plain",
    "read",
    "rendered",
]
