"""Who may call: WS-Security UsernameToken, as its standard of 2004 has it."""

import base64
import hashlib
import hmac
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from spyne import Fault

_WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
_WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"
_FRESH = timedelta(minutes=5)
_LONG_AGO = "1970-01-01T00:00:00+00:00"


class Guard:
    """Lets in who knows the password of an account: in text, or as a digest, fresh and once."""

    def __init__(self, accounts: dict[str, str]) -> None:
        self.accounts = accounts
        self._lock = threading.Lock()
        self._nonces: set[str] = set()

    def check(self, header: Any) -> None:
        """Raises: Fault, for whoever is not let in."""
        token = None if header is None else header.find(f".//{_WSSE}UsernameToken")
        given = None if token is None else token.find(f"{_WSSE}Password")
        if given is None:
            raise Fault("Client.Unauthenticated", "缺少 UsernameToken")
        password = self.accounts.get(token.findtext(f"{_WSSE}Username") or "", "")
        if (given.get("Type") or "").endswith("#PasswordDigest"):
            is_right = self._is_digest(token, password, given.text or "")
        else:
            is_right = hmac.compare_digest(password.encode(), (given.text or "").encode())
        if not password or not is_right:
            raise Fault("Client.Unauthenticated", "用户名或密码有误")

    def _is_digest(self, token: Any, password: str, given: str) -> bool:
        nonce = token.findtext(f"{_WSSE}Nonce") or ""
        created = token.findtext(f"{_WSU}Created") or _LONG_AGO
        digest = hashlib.sha1(  # noqa: S324 -- as the standard has it
            base64.b64decode(nonce) + created.encode() + password.encode()
        ).digest()
        age = datetime.now(UTC) - datetime.fromisoformat(created)
        with self._lock:
            is_new = nonce not in self._nonces
            self._nonces.add(nonce)
        is_right = hmac.compare_digest(base64.b64encode(digest), given.encode())
        return is_right and is_new and abs(age) < _FRESH
