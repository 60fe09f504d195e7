"""Callbacks of a profiled OA: proven by signature, token or certificate, then read."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events import InstanceId

from oa_connector.vendors import (
    CallbackMalformedError,
    CallbackRefusedError,
    Hint,
    InboundPort,
)
from oa_connector.vendors.profile.loading import ProfileError
from oa_connector.vendors.profile.model import ProfileBase
from oa_connector.vendors.profile.proofs import Callback, Hmac, Mtls, Token
from oa_connector.vendors.profile.writing import rendered
from oa_connector.vendors.secrets import Secrets, usable

_LONGEST_ID = 200
_DIGITS_OF_A_TIME = 12


@dataclass(frozen=True, slots=True)
class _Arrived:
    headers: Mapping[str, str]
    body: bytes
    now: datetime


class ProfiledCallbacks:
    """InboundPort by a profile; secrets are asked for at each use.

    One that cannot be used is passed over: a previous one exists only while it rotates. Where none
    is left, no callback is taken.
    """

    def __init__(self, callback: Callback, secrets: Secrets) -> None:
        self._callback = callback
        self._secrets = secrets

    def open(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Hint]:
        low = {name.lower(): value for name, value in headers.items()}
        proof = self._proof(_Arrived(low, body, now))
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise CallbackMalformedError(type(error).__name__) from error
        instance_id = self._read("instance_id", document, low)
        delivery_id = self._read("delivery_id", document, low)
        if not proof:
            # A token is the same every time: what is told apart is what it came with.
            proof = hashlib.sha256(delivery_id.encode() + b"\n" + body).hexdigest()
        return [Hint(InstanceId(instance_id), delivery_id, proof)]

    def _proof(self, arrived: "_Arrived") -> str:
        """The signature, "" where there is none; raises CallbackRefusedError."""
        verify = self._callback.verify
        given = arrived.headers.get(verify.header.lower(), "")
        match verify:
            case Hmac():
                self._check_signature(verify, given, arrived)
                return given
            case Token():
                _check(given, usable(self._secrets, verify.secrets), "token")
            case Mtls():
                pins = [_fingerprint(pin) for pin in usable(self._secrets, verify.fingerprints)]
                _check(_fingerprint(given), pins, "certificate")
        return ""

    def _check_signature(self, verify: Hmac, given: str, arrived: "_Arrived") -> None:
        sent_at = arrived.headers.get(verify.timestamp.lower(), "")
        signed = _signed(verify.signed, sent_at, arrived.body)
        expected = [
            verify.prefix + hmac.new(secret.encode(), signed, verify.algorithm).hexdigest()
            for secret in usable(self._secrets, verify.secrets)
        ]
        _check(given, expected, "signature")
        is_time = sent_at.isascii() and sent_at.isdecimal() and len(sent_at) <= _DIGITS_OF_A_TIME
        age = abs(int(sent_at) - arrived.now.timestamp()) if is_time else None
        if age is None or age > verify.tolerance_seconds:
            raise CallbackRefusedError("timestamp")

    def _read(self, field: str, document: Any, headers: Mapping[str, str]) -> str:
        found: str | None = getattr(self._callback, field).one(document, headers)
        if found is None or len(found) > _LONGEST_ID:
            raise CallbackMalformedError(field)
        return found


def _check(given: str, expected: Sequence[str], what: str) -> None:
    """Every candidate is compared, so that the time does not tell which one it was."""
    matches = [hmac.compare_digest(one.encode(), given.encode()) for one in expected]
    if not given or not any(matches):
        raise CallbackRefusedError(what)


def _signed(template: str, timestamp: str, body: bytes) -> bytes:
    """The signed bytes; the body goes in as it came, whatever its encoding."""
    mark = "\0"
    text = str(rendered(template, {"timestamp": timestamp, "body": mark}))
    return body.join(part.encode() for part in text.split(mark))


def _fingerprint(text: str) -> str:
    return text.replace(":", "").strip().lower()


def callbacks(profile: ProfileBase[Any], secrets: Secrets) -> InboundPort:
    """The OA's callbacks as its profile proves and reads them, whatever its transport.

    Raises:
        ProfileError: the profile names no callback.
    """
    if profile.callback is None:
        raise ProfileError(f"{profile.name}: callback is needed where callbacks are taken")
    return ProfiledCallbacks(profile.callback, secrets)
