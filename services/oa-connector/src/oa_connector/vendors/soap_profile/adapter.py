"""An ApprovalPort over SOAP by a profile: zeep writes and reads envelopes, the channel sends."""

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import httpx
import zeep
from lxml import etree
from zeep import exceptions
from zeep.helpers import serialize_object
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from oa_connector.domain import Accounts
from oa_connector.vendors import InboundPort
from oa_connector.vendors.channel import Channel, Limits
from oa_connector.vendors.profile import (
    ProfiledCallbacks,
    ProfiledOA,
    ProfileError,
    Reader,
    Reply,
    Values,
    rendered,
)
from oa_connector.vendors.profile.writing import UnsendableError
from oa_connector.vendors.soap_profile.model import Profile, SoapCall

Secrets = Callable[[str], str]
# What is written is checked by zeep; what comes back may hold more than its WSDL says.
_SETTINGS = zeep.Settings(strict=False, xml_huge_tree=False, forbid_entities=True, forbid_dtd=True)


# zeep looks for the root of whatever came: an AttributeError is how it says that there is none.
_UNREADABLE = (exceptions.Error, etree.XMLSyntaxError, ValueError, LookupError, AttributeError)


class SoapProfile(ProfiledOA[SoapCall]):
    """One OA with a SOAP interface. `secrets` is asked at each call: they rotate."""

    def __init__(
        self,
        profile: Profile,
        base_url: str,
        secrets: Secrets,
        limits: Limits,
        accounts: Accounts,
    ) -> None:
        own_account = None if profile.account is None else secrets(profile.account)
        channel = Channel(base_url.rstrip("/"), limits)
        super().__init__(profile, channel, self._request, Reader(profile, accounts, own_account))
        self._soap = profile
        self._secrets = secrets
        self._client, self._binding = _client(profile)

    async def _request(self, call: SoapCall, values: Values) -> Reply:
        content = self._envelope(call, rendered(call.arguments, values))
        action = self._binding.get(call.operation).soapaction
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}
        sent = await self._channel.call("POST", self._soap.path, content=content, headers=headers)
        return self._reply(call, sent)

    def _envelope(self, call: SoapCall, arguments: dict[str, Any]) -> bytes:
        """The envelope, signed anew: a token is good for one call.

        Raises:
            UnsendableError: the WSDL, or XML itself, has no place for what is to be sent.
        """
        self._client.wsse = self._token()
        try:
            envelope = self._client.create_message(
                self._client.service, call.operation, **arguments
            )
        except (
            exceptions.ValidationError,
            exceptions.XMLParseError,
            ValueError,
            TypeError,
        ) as error:
            raise UnsendableError(f"{call.operation}: {error}") from error
        written: bytes = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        return written

    def _token(self) -> UsernameToken | None:
        security = self._soap.security
        if security is None:
            return None
        return UsernameToken(
            self._secrets(security.username),
            self._secrets(security.password),
            use_digest=security.kind == "digest",
        )

    def _reply(self, call: SoapCall, sent: httpx.Response) -> Reply:
        """What is no envelope has no body: a page of a proxy says nothing of the process.

        An operation that returns nothing has found nothing.
        """
        headers = {name.lower(): value for name, value in sent.headers.items()}
        try:
            operation = self._binding.get(call.operation)
            result = self._binding.process_reply(self._client, operation, sent)
        except exceptions.Fault as fault:
            if fault.code is None:  # a page that happens to be well-formed
                return Reply(sent.status_code, None, sent.text, headers)
            said = {"code": str(fault.code), "message": str(fault.message)}
            return Reply(500, {"fault": said}, f"{fault.code}: {fault.message}", headers)
        except _UNREADABLE:
            return Reply(sent.status_code, None, sent.text, headers)
        return Reply(
            sent.status_code,
            _parsed(call, [] if result is None else _plain(result)),
            sent.text,
            headers,
        )


def callbacks(profile: Profile, secrets: Secrets) -> InboundPort:
    """The OA's callbacks as the profile proves and reads them.

    Raises:
        ProfileError: the profile names no callback.
    """
    if profile.callback is None:
        raise ProfileError(f"{profile.name}: callback is needed where callbacks are taken")
    return ProfiledCallbacks(profile.callback, secrets)


class _Offline(Transport):
    """Nothing is loaded from anywhere but the folder of the profile."""

    def _load_remote_data(self, url: str) -> bytes:
        raise OSError(f"{url} is not beside the profile")


def _client(profile: Profile) -> tuple[Any, Any]:
    """The client of the WSDL, with the binding of the port that is to be used.

    Raises:
        ProfileError: the WSDL cannot be read, or lacks an operation that the profile calls.
    """
    file = profile.wsdl_file
    offline: Any = _Offline
    try:
        client = zeep.Client(
            str(file),
            transport=offline(),
            settings=_SETTINGS,
            service_name=profile.service,
            port_name=profile.port,
        )
        binding = client.service._binding  # noqa: SLF001 -- zeep gives it no other name
    except (OSError, etree.XMLSyntaxError, exceptions.Error, ValueError) as error:
        raise ProfileError(f"{file}: {error}") from error
    for place, call, _ in profile.calls():
        if call.operation not in binding.all():
            raise ProfileError(f"{file}: {place}: the service has no operation {call.operation}")
    return client, binding


def _plain(result: Any) -> Any:
    """Numbers stay exact; times are written as ISO 8601."""
    match serialize_object(result, dict):
        case dict() as fields:
            return {name: _plain(value) for name, value in fields.items()}
        case list() as items:
            return [_plain(item) for item in items]
        case datetime() | date() as time:
            return time.isoformat()
        case str() | int() | float() | Decimal() | None as value:
            return value
        case other:
            return str(other)


def _parsed(call: SoapCall, body: Any) -> Any:
    if call.parse == "data":
        return body
    try:
        return json.loads(str(body), parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
