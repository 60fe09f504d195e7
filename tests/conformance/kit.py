"""What an OA's plug-in gives to the suite, and the two servers that stand between us and it.

A plug-in is one file `adapter_<name>.py` with

    def missing() -> str | None     # why it cannot run here
    def opened()                    # an async context manager: starts the OA, gives a Rig, stops it

It drives the OA the way its own people do, and shares no code with the adapter under test. Where
an OA has no such thing it raises `Absent`, which the table shows and nobody counts as a failure.
"""

import asyncio
import contextlib
import itertools
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol, TypeVar

from events import ContentHash, DocumentId, EmployeeId, InstanceId
from local_stack.room import Options
from local_stack.stack import Stack
from oa_connector.domain import Form, SubmitApproval
from oa_connector.vendors import ApprovalPort, InboundPort

HASH = ContentHash("a1" * 32)
HTML = b"<html><body><h1>The system is busy</h1></body></html>"
_HEAD_END = b"\r\n\r\n"
_numbers = itertools.count(1)
T = TypeVar("T")


class Absent(Exception):
    """This OA has no such thing; the message says what it is, for the table."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One callback as it came from the OA; header names in lower case."""

    headers: dict[str, str]
    body: bytes
    came_at: datetime


class Rig(Protocol):
    """One OA with an adapter under test. People are `chen`, `zhou` and `lin`."""

    name: str
    template: str
    base_url: str  # of the OA itself
    proxy: "Proxy"  # before the OA; `port` goes through it
    port: ApprovalPort
    inbound: InboundPort
    listener: "Listener"  # to which the OA sends its callbacks
    newer_version: tuple[bytes, bytes]  # of the same length: what to change in its answers
    odd_status: tuple[bytes, bytes]  # what to change, so that an approved process reads otherwise

    async def decide(self, instance_id: InstanceId, who: str, outcome: str, opinion: str) -> None:
        """A person approves, rejects or returns, in the OA's own way."""

    async def take_back(self, instance_id: InstanceId, who: str) -> None:
        """A person undoes an approval given before."""

    async def delete(self, instance_id: InstanceId) -> None:
        """An administrator removes the process."""

    async def change_amount(self, instance_id: InstanceId, amount: str) -> None:
        """Someone changes the form behind our back."""

    def change_form(self, template: str) -> contextlib.AbstractAsyncContextManager[None]:
        """An administrator changes the form's definition, for a while."""

    def without(self, who: str) -> contextlib.AbstractAsyncContextManager[None]:
        """An administrator closes a person's account, for a while."""

    async def abandon(self, instance_id: InstanceId) -> None:
        """An administrator takes the step that is asked from its person, and gives it to no one."""

    async def comments(self, instance_id: InstanceId) -> list[str]:
        """The notes that people see in the OA."""

    def forgetful(self) -> ApprovalPort:
        """An adapter whose business key the OA silently drops, by a mistake of configuration."""

    def rotated(self) -> InboundPort:
        """The callbacks' port after the secret was changed; the OA still signs with the old."""

    def stranger(self) -> InboundPort:
        """A callbacks' port that knows only another secret."""


def command(template: str, *approvers: str, key: str | None = None) -> SubmitApproval:
    """A claim of lin, approved by chen, then zhou, unless named otherwise; a key of its own."""
    route = tuple(
        (step, EmployeeId(one)) for step, one in enumerate(approvers or ("chen", "zhou"), start=1)
    )
    document_id = uuid.uuid4().hex
    return SubmitApproval(
        business_key=key or f"{document_id}@1",
        document_id=DocumentId(document_id),
        template=template,
        content_hash=HASH,
        form=Form(
            title=f"上海客户现场实施 {next(_numbers)}",
            amount="1488.00",
            currency="CNY",
            submitter_id=EmployeeId("lin"),
            route=route,
            details=("酒店 1 晚 688.00，超标 88.00", "高铁 上海—北京 800.00"),
        ),
    )


def own_stack(name: str, options: Options | None = None) -> Stack:
    """A server for this suite alone; what a killed run leaves behind, the next one stops."""
    return Stack(Path(os.environ["TONGLU_TEST_STACK"]) / f"own-{name}", options)


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Look until it holds; after a minute the last answer is the failure."""
    deadline = asyncio.get_running_loop().time() + 60
    while not holds(seen := await look()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"never came true; last seen: {seen}")
        await asyncio.sleep(0.2)
    return seen


@dataclass
class Proxy:
    """Stands between the adapter and the OA and misbehaves when it is told to.

    One request a connection. `cut`: the next reply to more than a question (GET) is thrown away
    after the OA has given it all.
    `page`: every answer is this one, and the OA hears nothing. `ahead`: by how much the OA's
    clock seems to run ahead. `edits`: what is written in its answers instead.
    """

    host: str
    port: int
    url: str = ""
    cut: bool = False
    page: tuple[int, bytes] | None = None
    ahead: timedelta = timedelta(0)
    edits: list[tuple[bytes, bytes]] = field(default_factory=list)
    requests: int = 0
    _server: asyncio.Server | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        await self.up()
        try:
            yield self
        finally:
            await self.down()

    async def up(self) -> None:
        mine = int(self.url.rpartition(":")[2]) if self.url else 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", mine)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def down(self) -> None:
        """Nobody listens any more: what is sent now is refused."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    @contextlib.contextmanager
    def edited(self, edit: tuple[bytes, bytes]) -> Iterator[None]:
        self.edits.append(edit)
        try:
            yield
        finally:
            self.edits.remove(edit)

    @contextlib.contextmanager
    def answering(self, status: int, body: bytes) -> Iterator[None]:
        self.page = (status, body)
        try:
            yield
        finally:
            self.page = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head, body = await message(reader)
            self.requests += 1
            reply = await self._reply(head, body)
            if reply is not None:
                writer.write(reply)
                await writer.drain()
        writer.close()

    async def _reply(self, head: bytes, body: bytes) -> bytes | None:
        if self.page is not None:
            return response(*self.page)
        reply = await self._forwarded(head, body)
        if self.cut and not head.startswith(b"GET "):
            self.cut = False
            return None
        for old, new in self.edits:
            reply = reply.replace(old, new)
        if self.ahead:
            theirs = format_datetime(datetime.now(UTC) + self.ahead, usegmt=True).encode()
            reply = re.sub(rb"(?i)(\r\ndate: )[^\r]+", rb"\g<1>" + theirs, reply, count=1)
        return reply

    async def _forwarded(self, head: bytes, body: bytes) -> bytes:
        lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"connection:")]
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(b"\r\n".join([*lines, b"Connection: close"]) + _HEAD_END + body)
        await writer.drain()
        reply = await reader.read()
        writer.close()
        start, end, rest = reply.partition(_HEAD_END)
        kept = [one for one in start.split(b"\r\n") if not one.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"Connection: close"]) + end + rest


@dataclass
class Listener:
    """Takes the OA's callbacks and keeps them, as they came."""

    url: str = ""
    taken: list[Delivery] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Listener"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callbacks/oa"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head, body = await message(reader)
            pairs = [line.split(b":", 1) for line in head.split(b"\r\n")[1:]]
            headers = {k.decode().lower(): v.strip().decode() for k, v in pairs}
            self.taken.append(Delivery(headers, body, datetime.now(UTC)))
            writer.write(response(204, b""))
            await writer.drain()
        writer.close()


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One HTTP request: its head without the blank line, and its body."""
    head = (await reader.readuntil(_HEAD_END)).removesuffix(_HEAD_END)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head, await reader.readexactly(int(length[1]) if length else 0)


def response(status: int, body: bytes) -> bytes:
    size = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
    head = b"HTTP/1.1 %d Said\r\nContent-Type: text/html\r\n%sConnection: close" % (status, size)
    return head + _HEAD_END + body
