"""The HTTP way to one OA: paced, cut off by a breaker, with the OA's clock read on the way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import CLOSED, OpenedState

from oa_connector.vendors import NotSentError, OAError, PausedError
from oa_connector.vendors.turns import is_aside, own_turn

# The request did not leave us: no connection, or no place in the pool.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_CIRCUIT = "oa"


# The OA, or a proxy before it, says that it is in trouble. A 500 is left out: it is often the
# answer to one request that cannot be served, and says nothing of the next.
_TROUBLE = {429, 502, 503, 504}
_REFUSED = {401, 403}


class _TroubleError(Exception):
    """Counts as a failure of the circuit, though an answer came."""

    def __init__(self, reply: httpx.Response) -> None:
        super().__init__(reply.status_code)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Limits:
    """How an OA wants to be treated: calls per second with a burst, and the breaker's patience.

    After `failures` failures in a row it is left alone for `rest` seconds, then tried with one.
    Whoever has an account there is taken to have it for `people` seconds more.
    """

    calls_per_second: float = 50
    burst: int = 50
    failures: int = 5
    rest: float = 30.0
    people: float = 300.0
    timeout: httpx.Timeout = field(
        default_factory=lambda: httpx.Timeout(connect=3.0, read=8.0, write=3.0, pool=3.0)
    )

    @property
    def calls_per_minute(self) -> int:
        return max(1, int(self.calls_per_second * 60))


class Channel:
    """Every call of one OA goes through here. `auth` is asked at each call: secrets rotate."""

    def __init__(
        self,
        base_url: str,
        limits: Limits,
        auth: Callable[[], httpx.Auth | None] = lambda: None,
    ) -> None:
        self.limits = limits
        self._auth = auth
        self._limiter = AsyncLimiter(limits.burst, limits.burst / limits.calls_per_second)
        self._circuits = AsyncCircuitBreakerFactory(limits.failures, limits.rest)
        self._trial = asyncio.Lock()
        self._left_alone_until = 0.0
        self.breaker: str = CLOSED
        self.clock_offset = timedelta(0)
        self.refuses_us = False
        self._circuits.add_listener(self._on_circuit)
        self.http = httpx.AsyncClient(
            base_url=base_url,
            timeout=limits.timeout,
            follow_redirects=False,
            trust_env=False,  # the OA is inside: no proxy of the machine may stand between
        )

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call and its answer, whatever its status; `more` is what httpx takes.

        Raises:
            PausedError: the breaker is open; nothing was sent.
            NotSentError: no connection, no secret, or its turn did not come; nothing was sent.
            OAError: it was sent, and what became of it is not known.
        """
        request = {"auth": self._auth(), **more}
        self._demand_no_pause()
        await own_turn(self._limiter)
        self._demand_no_pause()
        if self.breaker == CLOSED:
            return await self._attempt(method, path, request)
        async with self._trial:
            return await self._attempt(method, path, request)

    def _demand_no_pause(self) -> None:
        """Raises: PausedError, while the OA is left alone, or one call tries whether it is back."""
        if self.breaker == CLOSED:
            return
        if time() < self._left_alone_until:
            raise PausedError("the breaker is open")
        if self._trial.locked():
            raise PausedError("the breaker is half open, and another call tries")

    async def _attempt(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        circuit = await self._circuits.get_breaker(_CIRCUIT)
        try:
            async with circuit:
                return await self._send(method, path, request)
        except _TroubleError as trouble:
            return trouble.reply
        except OpenedState as opened:
            raise PausedError("the breaker is open") from opened
        except _NOT_SENT as error:
            raise NotSentError(said(error)) from error
        except httpx.HTTPError as error:
            raise OAError(said(error)) from error

    async def _send(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        reply = await self.http.request(method, path, **request)
        # Read to its end; it points back at the reply, and thousands would wait for the collector.
        reply.stream = httpx.ByteStream(b"")
        self._read_clock(reply)
        if not is_aside():
            self.refuses_us = reply.status_code in _REFUSED
        if reply.status_code in _TROUBLE:
            raise _TroubleError(reply)
        return reply

    async def close(self) -> None:
        await self.http.aclose()

    def _on_circuit(self, _name: str, happened: str, event: Any) -> None:
        if happened == "state_changed":
            self.breaker = event.state
            if event.opened_at is not None:
                self._left_alone_until = event.opened_at + self.limits.rest

    def _read_clock(self, reply: httpx.Response) -> None:
        """`Date` has whole seconds: half a second is added, so that the error has no direction."""
        try:
            theirs = parsedate_to_datetime(reply.headers.get("date", ""))
        except ValueError:
            return
        if theirs.tzinfo is not None:
            self.clock_offset = theirs + timedelta(seconds=0.5) - datetime.now(UTC)


def said(error: Exception) -> str:
    """An error of the client in one line."""
    return f"{type(error).__name__}: {error}"


def words(reply: httpx.Response) -> str:
    """What the OA wrote, in one short line."""
    return " ".join(reply.text.split())[:120]


def answer(reply: httpx.Response) -> str:
    """The status and what the OA wrote; not for logs."""
    return f"{reply.status_code} {words(reply)}"
