"""The road between the OA and the connector: callbacks get lost on it, come twice, out of order."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_HANDED_ON = ("content-type", "x-oa-signature", "x-oa-timestamp", "x-oa-delivery")


@dataclass(frozen=True, slots=True)
class Letter:
    """One callback as the OA has sent it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Postman:
    """Takes every callback and answers yes, then hands it on to `target`, or does not."""

    port: int
    target: str
    loses: frozenset[str] = frozenset()  # the OA's processes of which nothing ever arrives
    lost: int = 0
    held: list[Letter] | None = None  # kept for later instead of being handed on
    dice: random.Random = field(default_factory=lambda: random.Random(2026))
    _http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=10))
    _server: uvicorn.Server | None = None
    _serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        app = Starlette(routes=[Route("/{path:path}", self._take, methods=["POST"])])
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="warning")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve())

    async def stop(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        await self._http.aclose()

    @asynccontextmanager
    async def losing(self, processes: Collection[str]) -> AsyncIterator[None]:
        """Within this block no callback of these processes arrives, not even one."""
        self.loses, self.lost = frozenset(processes), 0
        try:
            yield
        finally:
            self.loses = frozenset()

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[list[Letter]]:
        """Within this block none arrives; they are in the list instead."""
        self.held = held = []
        try:
            yield held
        finally:
            self.held = None

    async def carry(self, letter: Letter) -> int:
        """Hand it to the connector; its status, 502 when nobody opens."""
        try:
            answer = await self._http.post(
                f"{self.target}{letter.path}", content=letter.body, headers=letter.headers
            )
        except httpx.TransportError:
            return 502
        return answer.status_code

    async def _take(self, request: Request) -> Response:
        headers = {name: request.headers[name] for name in _HANDED_ON if name in request.headers}
        letter = Letter(request.url.path, headers, await request.body())
        if self.held is not None:
            self.held.append(letter)
            return Response(status_code=204)
        if str(json.loads(letter.body)["processInstanceId"]) in self.loses:
            self.lost += 1
            return Response(status_code=204)
        return Response(status_code=await self.carry(letter))
