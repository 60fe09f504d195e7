"""Who is asking: RS256 access tokens, verified against the issuer's published keys."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import httpx
from fastapi import Depends, Request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from chassis.problem import BUSY, FORBIDDEN, UNAUTHENTICATED, Problem

_LEEWAY_SECONDS = 30
_KEPT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a machine, as the token names it."""

    subject: str
    kind: Literal["person", "machine"]
    roles: frozenset[str]

    def has(self, *roles: str) -> bool:
        """Whether it holds one of these roles."""
        return not self.roles.isdisjoint(roles)


class IssuerUnreachableError(RuntimeError):
    """The issuer's keys cannot be read: no one can be let in, and no one is refused for good."""


@dataclass(slots=True)
class Verifier:
    """Checks signature, issuer, audience and time of a token.

    Keys are read from the issuer's discovery document, again when a token names an unknown one
    (rotation). A verified token is remembered until it expires: RSA costs more than our SQL.
    """

    issuer: str
    audience: str
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=5.0))
    refresh_seconds: float = 1.0  # an unknown key id asks the issuer at most this often
    _keys: KeySet | None = None
    _read_at: float = 0.0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _known: OrderedDict[bytes, tuple[float, Principal]] = field(default_factory=OrderedDict)

    async def principal(self, token: str) -> Principal:
        """Whom the token speaks for.

        Raises:
            JoseError, ValueError: the token is not valid; the message says why.
            IssuerUnreachableError: the keys could not be read.
        """
        digest = hashlib.sha256(token.encode()).digest()
        expires, known = self._known.get(digest, (0.0, None))
        if known is not None and expires > time.time():
            return known
        claims = await self._verified_claims(token)
        principal = _principal(claims)
        self._known[digest] = (float(claims["exp"]), principal)
        while len(self._known) > _KEPT_TOKENS:
            self._known.popitem(last=False)
        return principal

    async def _verified_claims(self, token: str) -> dict[str, Any]:
        keys = self._keys or await self._read_keys()
        try:
            decoded = jwt.decode(token, keys, algorithms=["RS256"])
        except (JoseError, ValueError):
            if time.monotonic() - self._read_at < self.refresh_seconds:
                raise
            decoded = jwt.decode(token, await self._read_keys(), algorithms=["RS256"])
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        registry.validate(decoded.claims)
        return decoded.claims

    async def _read_keys(self) -> KeySet:
        async with self._reading:
            try:
                found = await self.http.get(f"{self.issuer}/.well-known/openid-configuration")
                document = found.raise_for_status().json()
                keys = await self.http.get(document["jwks_uri"])
                self._keys = KeySet.import_key_set(keys.raise_for_status().json())
            except (httpx.HTTPError, KeyError, ValueError) as error:
                raise IssuerUnreachableError(f"keys of {self.issuer}: {error}") from error
            self._read_at = time.monotonic()
            return self._keys

    async def close(self) -> None:
        await self.http.aclose()


def _principal(claims: dict[str, Any]) -> Principal:
    subject = str(claims["sub"])
    client = claims.get("client_id") or claims.get("azp")
    roles = claims.get("roles", [])
    if not isinstance(roles, list):
        raise ValueError("roles is not a list")  # noqa: TRY004
    return Principal(
        subject=subject,
        kind="machine" if client == subject else "person",
        roles=frozenset(str(role) for role in roles),
    )


async def authenticate(request: Request) -> None:
    """The dependency that every router is included with: no token, no answer.

    Those of the route itself run after it and find the principal on the request: to nest them
    would solve the same dependencies again for each.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(UNAUTHENTICATED, reason="Authorization: Bearer")
    verifier: Verifier = request.app.state.verifier
    try:
        request.state.principal = await verifier.principal(token)
    except IssuerUnreachableError as error:
        raise Problem(BUSY) from error
    except (JoseError, ValueError) as error:
        raise Problem(UNAUTHENTICATED, reason=str(error)) from error


async def principal(request: Request) -> Principal:
    """Who is asking."""
    known: Principal = request.state.principal
    return known


Me = Annotated[Principal, Depends(principal)]


def needs(*roles: str) -> Any:
    """A dependency for a route that only these roles may call."""

    async def check(request: Request) -> None:
        if not request.state.principal.has(*roles):
            raise Problem(FORBIDDEN, roles=", ".join(roles))

    return Depends(check)
