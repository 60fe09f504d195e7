"""An ApprovalPort over HTTP by a profile."""

import json
from collections.abc import Generator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx

from oa_connector.domain import Accounts
from oa_connector.vendors import NotSentError
from oa_connector.vendors.channel import Channel, Limits
from oa_connector.vendors.http_profile.model import Basic, Bearer, Headers, HttpCall, Profile
from oa_connector.vendors.profile import (
    ProfiledOA,
    Reader,
    Reply,
    UnsendableError,
    Values,
    names,
    plain,
    rendered,
)
from oa_connector.vendors.secrets import Secrets, secret


class HttpProfile(ProfiledOA[HttpCall]):
    """One OA with an HTTP interface. `secrets` is asked at each use: they rotate."""

    def __init__(
        self,
        profile: Profile,
        base_url: str,
        secrets: Secrets,
        limits: Limits,
        accounts: Accounts,
    ) -> None:
        channel = Channel(base_url.rstrip("/"), limits, lambda: _signed(profile.auth, secrets))
        reader = Reader(profile, accounts, secrets)
        super().__init__(profile, channel, self._request, reader)

    async def _request(self, call: HttpCall, values: Values) -> Reply:
        safe = plain(values)
        more: dict[str, Any] = {
            "params": rendered(call.params, safe),
            "headers": _headers(rendered(call.headers, safe)),
        }
        if call.json_body is not None:
            more["json"] = rendered(call.json_body, values)
        if call.form is not None:
            more["data"] = rendered(call.form, values)
        parts = {name: quote(str(safe[name]), safe="") for name in names(call.path)}
        path = rendered(call.path, parts)
        return _read(await self._channel.call(call.method, path, **more), call)


class _Signed(httpx.Auth):
    """Headers that say who we are."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = _headers(headers)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._headers)
        yield request


def _signed(auth: Basic | Bearer | Headers, secrets: Secrets) -> httpx.Auth:
    """Raises: NotSentError, for a secret that is not there, or that no header can hold."""
    match auth:
        case Basic():
            return httpx.BasicAuth(secret(secrets, auth.username), secret(secrets, auth.password))
        case Bearer():
            signed = {"Authorization": f"Bearer {secret(secrets, auth.token)}"}
        case _:
            headers = auth.headers.items()
            signed = {name: auth.prefix + secret(secrets, one) for name, one in headers}
    try:
        return _Signed(signed)
    except UnsendableError as error:
        raise NotSentError(f"a secret cannot be sent: {error}") from error


def _headers(texts: dict[str, str]) -> httpx.Headers:
    """Raises: UnsendableError, for a text that no header can hold."""
    try:
        return httpx.Headers(texts)
    except UnicodeEncodeError as error:
        raise UnsendableError(f"a header holds ASCII only: {error.reason}") from error


def _read(response: httpx.Response, call: HttpCall) -> Reply:
    """Numbers stay exact. What is no JSON has no body, unless the call expects plain text."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        body = json.loads(response.content, parse_float=Decimal)
    except (ValueError, RecursionError):
        body = response.text if call.body == "text" else None
    return Reply(response.status_code, body, response.text, headers)
