"""An ApprovalPort over SOAP by a profile: zeep writes and reads envelopes, the channel sends."""

import json
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
from oa_connector.vendors.channel import Channel, Limits
from oa_connector.vendors.profile import (
    ProfiledOA,
    ProfileError,
    Reader,
    Reply,
    UnsendableError,
    Values,
    rendered,
)
from oa_connector.vendors.secrets import Secrets, secret
from oa_connector.vendors.soap_profile.model import Profile, SoapCall

_LISTS = {"approvers", "details"}  # placeholders that stand for several values
_UNWRITABLE = (exceptions.ValidationError, exceptions.XMLParseError, ValueError, TypeError)
_BODY = "{http://schemas.xmlsoap.org/soap/envelope/}Body"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
# What is written is checked by zeep; what comes back may hold more than its WSDL says.
_SETTINGS = zeep.Settings(strict=False, xml_huge_tree=False, forbid_entities=True, forbid_dtd=True)


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
        channel = Channel(base_url.rstrip("/"), limits)
        reader = Reader(profile, accounts, secrets)
        super().__init__(profile, channel, self._request, reader)
        self._soap = profile
        self._secrets = secrets
        self._client, self._binding = opened(profile)

    async def _request(self, call: SoapCall, values: Values) -> Reply:
        # Signed anew: a token is good for one call.
        self._client.wsse = self._token()
        content = _envelope(self._client, call, values)
        action = self._binding.get(call.operation).soapaction
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'}
        sent = await self._channel.call("POST", self._soap.path, content=content, headers=headers)
        return self._reply(call, sent)

    def _token(self) -> UsernameToken | None:
        """Raises: NotSentError, when a secret is not there; nothing is sent without it."""
        security = self._soap.security
        if security is None:
            return None
        username = secret(self._secrets, security.username)
        password = secret(self._secrets, security.password)
        return UsernameToken(username, password, use_digest=security.kind == "digest")

    def _reply(self, call: SoapCall, sent: httpx.Response) -> Reply:
        """What is no whole envelope has no body: a page of a proxy says nothing of the process."""
        headers = {name.lower(): value for name, value in sent.headers.items()}
        unread = Reply(sent.status_code, None, sent.text, headers)
        if not _is_envelope(sent.content):
            return unread
        bare = httpx.Response(sent.status_code, content=sent.content)
        try:
            operation = self._binding.get(call.operation)
            result = self._binding.process_reply(self._client, operation, bare)
        except exceptions.Fault as fault:
            if fault.code is None:  # an error of HTTP around something else
                return unread
            told = {"code": str(fault.code), "message": str(fault.message)}
            return Reply(500, {"fault": told}, f"{fault.code}: {fault.message}", headers)
        except (exceptions.Error, ValueError, LookupError):
            return unread
        is_empty = result is None or result == []
        body = _parsed(call, _empty(sent.content) if is_empty else _plain(result))
        return Reply(sent.status_code, body, sent.text, headers)


class _Offline(Transport):
    """Nothing is loaded from anywhere but the folder of the profile."""

    def _load_remote_data(self, url: str) -> bytes:
        raise OSError(f"{url} is not beside the profile")


def opened(profile: Profile) -> tuple[Any, Any]:
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
    for place, call, known in profile.calls():
        if call.operation not in binding.all():
            raise ProfileError(f"{file}: {place}: the service has no operation {call.operation}")
        try:
            _envelope(client, call, {name: ("0",) if name in _LISTS else "0" for name in known})
        except UnsendableError as error:
            raise ProfileError(f"{file}: {place}: {error}") from error
    return client, binding


def _envelope(client: Any, call: SoapCall, values: Values) -> bytes:
    """The call as it is sent.

    Raises:
        UnsendableError: the WSDL, or XML itself, has no place for what is to be sent.
    """
    arguments = rendered(call.arguments, values)
    try:
        envelope = client.create_message(client.service, call.operation, **arguments)
    except _UNWRITABLE as error:
        raise UnsendableError(f"{call.operation}: {error}") from error
    written: bytes = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
    return written


def _is_envelope(content: bytes) -> bool:
    """Whether it is well-formed to its end: zeep would make the best of one that was cut short."""
    try:
        return etree.fromstring(content, _parser()).find(_BODY) is not None
    except (etree.XMLSyntaxError, ValueError):
        return False


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True)


def _empty(content: bytes) -> list[Any] | dict[str, Any]:
    """What an answer of nothing is: an empty list that it holds, or no list at all.

    zeep tells no empty element from one that is not there, or nil: many an OA that fails inside
    returns null, and that is no list without items.
    """
    body = etree.fromstring(content, _parser()).find(_BODY)
    held = [] if body is None else body.xpath("*/*")
    return [] if any(one.get(_NIL) not in {"true", "1"} for one in held) else {}


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
        return json.loads(body, parse_float=Decimal)
    except (TypeError, ValueError, RecursionError):
        return None
