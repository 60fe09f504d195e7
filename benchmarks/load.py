"""A client that costs little beside what it measures: prepared requests on keep-alive connections.

As a program: reads `{"port", "connections", "requests"}` as JSON and prints when it began
(monotonic, ns), the seconds it took, and the milliseconds of each answer.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import cast

import uvloop


class RefusedError(RuntimeError):
    """A request was not answered with 2xx."""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._read = b""
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._expected:
            head, found, _ = self._read.partition(b"\r\n\r\n")
            if not found:
                return
            _, _, length = head.lower().partition(b"content-length:")
            self._expected = len(head) + 4 + int(length.split(b"\r\n", 1)[0])
        if len(self._read) >= self._expected and self._answer is not None:
            answer, self._read, self._expected = self._read, b"", 0
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed by the service"))

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._answer
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise RefusedError(answer.decode())
        return body

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection, "127.0.0.1", port
    )
    return connection


def request(method: str, path: str, token: str, body: bytes = b"", key: str = "") -> bytes:
    headers = [f"{method} {path} HTTP/1.1", "host: bench", f"authorization: Bearer {token}"]
    if key:
        headers.append(f"idempotency-key: {key}")
    if body:
        headers.append("content-type: application/json")
    headers.append(f"content-length: {len(body)}\r\n\r\n")
    return "\r\n".join(headers).encode() + body


async def ask_all(port: int, connections: int, requests: Iterable[bytes]) -> list[float]:
    """Each request once, the next as soon as a connection is free; milliseconds of each."""
    todo, milliseconds = deque(requests), []

    async def work(connection: Connection) -> None:
        while todo:
            began = time.perf_counter()
            await connection.ask(todo.popleft())
            milliseconds.append((time.perf_counter() - began) * 1000)

    opened = [await connect(port) for _ in range(connections)]
    async with asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(work(connection))
    for connection in opened:
        connection.close()
    return milliseconds


def main() -> None:
    told = json.load(sys.stdin)
    requests = [one.encode() for one in told["requests"]]
    began = time.monotonic_ns()
    milliseconds = uvloop.run(ask_all(told["port"], told["connections"], requests))
    seconds = (time.monotonic_ns() - began) / 1e9
    print(json.dumps({"began": began, "seconds": seconds, "ms": milliseconds}))


if __name__ == "__main__":
    main()
