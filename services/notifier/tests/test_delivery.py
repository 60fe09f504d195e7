"""Hand over and record, against a real SMTP server and a real HTTP receiver."""

import asyncio
import contextlib
import email
import email.policy
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
import uvicorn
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from events.notices import ChannelName
from notifier import store
from notifier.channels.email import Email
from notifier.channels.in_app import InApp
from notifier.channels.webhook import Webhook, sign
from notifier.delivery import MAYBE_TWICE, Pace, delivering

QUICK = Pace(
    poll=timedelta(milliseconds=20),
    first_pause=timedelta(milliseconds=20),
    longest_pause=timedelta(milliseconds=100),
)
SECRET = b"shared"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mailbox:
    """An SMTP server on a port that stays its own; it answers `verdict` to each recipient."""

    port: int = field(default_factory=free_port)
    letters: list[email.message.EmailMessage] = field(default_factory=list)
    verdict: str = "250 OK"
    controller: Controller | None = None

    def open(self) -> None:
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def close(self) -> None:
        if self.controller is not None:
            self.controller.stop()
            self.controller = None

    async def handle_RCPT(self, server: SMTP, session, envelope, address, options) -> str:  # noqa: ARG002, N802
        if self.verdict.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.verdict

    async def handle_DATA(self, server: SMTP, session, envelope) -> str:  # noqa: ARG002, N802
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append(parsed)
        return "250 kept"

    def channel(self) -> Email:
        return Email("127.0.0.1", self.port, "tonglu@example.com", tls="none", timeout=5.0)


@dataclass
class Receiver:
    """An HTTP server that keeps what it is sent and answers with the given statuses in turn."""

    port: int = field(default_factory=free_port)
    statuses: list[int] = field(default_factory=list)
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.posts.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 204
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        config = uvicorn.Config(self, port=self.port, log_config=None, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        task = asyncio.ensure_future(server._serve())
        try:
            while not server.started:  # noqa: ASYNC110 -- uvicorn offers no event
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            await task

    def channel(self) -> Webhook:
        return Webhook(f"http://127.0.0.1:{self.port}/hook", SECRET, timeout=5.0)


@pytest.fixture
def mailbox():
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


@contextlib.asynccontextmanager
async def delivery(database, *channels, pace: Pace = QUICK) -> AsyncIterator[None]:
    draining = asyncio.Event()
    loops = [asyncio.ensure_future(delivering(it, pace)(database, draining)) for it in channels]
    try:
        yield
    finally:
        draining.set()
        await asyncio.wait_for(asyncio.gather(*loops), 15)


@pytest.fixture
def settled(database, eventually):
    """Wait for the end of the only notice of a channel: its state, attempts and reason."""

    async def wait(channel: ChannelName) -> tuple[str, int, str | None]:
        query = "SELECT state, attempts, reason FROM notice WHERE channel = $1"
        row = await eventually(
            lambda: database.pool.fetchrow(query, channel.value), lambda row: row["state"] != "due"
        )
        return tuple(row)

    return wait


async def events_of(database) -> list[tuple[str, dict]]:
    rows = await database.pool.fetch("SELECT type, payload, headers FROM outbox ORDER BY seq")
    return [(row["type"], json.loads(row["payload"])) for row in rows]


async def test_letter_arrives_once_and_the_fact_follows_its_cause(
    road, database, mailbox, settled
) -> None:
    mailbox.open()
    cause = await road.ask()
    async with delivery(database, mailbox.channel()):
        assert await settled(ChannelName.EMAIL) == ("sent", 1, None)
    (letter,) = mailbox.letters
    assert letter["To"] == "e1002@example.com"
    assert letter["Subject"] == "待您审批：上海出差"
    assert "王强，您好" in letter.get_content()
    (fact,) = await database.pool.fetch("SELECT type, key, headers FROM outbox")
    assert (fact["type"], fact["key"]) == ("notice.sent.v1", "E1002")
    headers = json.loads(fact["headers"])
    assert (headers["ce_causationid"], headers["ce_correlationid"]) == (str(cause), "C1")


async def test_reader_of_english_gets_english(road, database, mailbox, settled) -> None:
    mailbox.open()
    await road.ask(assignee="E1010")
    async with delivery(database, mailbox.channel()):
        await settled(ChannelName.EMAIL)
    assert mailbox.letters[0]["Subject"] == "For your approval: 上海出差"


async def test_address_refused_for_good_is_a_failure_that_names_nobody(
    road, database, mailbox, settled
) -> None:
    mailbox.open()
    mailbox.verdict = "550 no such user e1002@example.com"
    await road.ask()
    async with delivery(database, mailbox.channel()):
        assert await settled(ChannelName.EMAIL) == ("failed", 1, "smtp 550")
    ((type_, fact),) = await events_of(database)
    assert (type_, fact["attempts"], fact["reason"]) == ("notice.failed.v1", 1, "smtp 550")
    assert "example.com" not in json.dumps(fact)


async def test_person_who_left_in_the_meantime_gets_no_letter(
    road, database, mailbox, settled, hire_as
) -> None:
    mailbox.open()
    await road.ask()
    await road.hire(hire_as("E1002", "王强", status="left"))
    async with delivery(database, mailbox.channel()):
        assert await settled(ChannelName.EMAIL) == ("failed", 1, "the recipient has left")
    assert mailbox.letters == []


async def test_server_that_is_down_gets_the_letter_when_it_is_up(
    road, database, mailbox, settled, eventually
) -> None:
    await road.ask()
    attempts = "SELECT attempts FROM notice WHERE channel = 'email'"
    async with delivery(database, mailbox.channel()):
        await eventually(lambda: database.pool.fetchval(attempts), lambda count: count >= 3)
        mailbox.open()
        state, count, _ = await settled(ChannelName.EMAIL)
    assert state == "sent"
    assert count >= 3  # the third was perhaps under way when it opened
    assert len(mailbox.letters) == 1


async def test_busy_server_is_asked_again_and_then_given_up(
    road, database, mailbox, settled
) -> None:
    mailbox.open()
    mailbox.verdict = "451 try later"
    await road.ask()
    async with delivery(database, mailbox.channel(), pace=replace(QUICK, attempts=3)):
        assert await settled(ChannelName.EMAIL) == ("failed", 3, "gave up: smtp 451")


async def test_dead_channel_does_not_hold_the_others(road, database, mailbox, settled) -> None:
    await road.ask()
    receiver = Receiver()
    async with (
        receiver.serving(),
        delivery(database, mailbox.channel(), receiver.channel(), InApp()),
    ):
        assert (await settled(ChannelName.WEBHOOK))[0] == "sent"
        assert (await settled(ChannelName.IN_APP))[0] == "sent"
    state = await database.pool.fetchval("SELECT state FROM notice WHERE channel = 'email'")
    assert state == "due"


async def test_webhook_is_signed_over_time_and_body(road, database, settled) -> None:
    receiver = Receiver()
    await road.ask()
    async with receiver.serving(), delivery(database, receiver.channel()):
        assert (await settled(ChannelName.WEBHOOK))[0] == "sent"
    ((headers, body),) = receiver.posts
    at = int(headers["tonglu-signature"].split(",")[0].removeprefix("t="))
    assert headers["tonglu-signature"] == sign(SECRET, at, body)
    assert headers["tonglu-signature"] != sign(b"other", at, body)
    assert json.loads(body)["subject"] == "待您审批：上海出差"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([404], ("failed", 1)), ([302], ("failed", 1)), ([408, 429, 503], ("sent", 4))],
)
async def test_http_answers_decide_between_failed_and_again(
    road, database, settled, statuses, expected
) -> None:
    receiver = Receiver(statuses=list(statuses))
    await road.ask()
    async with receiver.serving(), delivery(database, receiver.channel()):
        found = await settled(ChannelName.WEBHOOK)
    assert found[:2] == expected
    assert len(receiver.posts) == expected[1]


_ONE_LOOP = """
import asyncio, sys
from chassis import Database
from notifier import store
from notifier.channels.email import Email
from notifier.delivery import Pace, delivering
async def main(dsn, port):
    channel = Email("127.0.0.1", int(port), "tonglu@example.com", tls="none")
    await delivering(channel, Pace())(await Database.connect(dsn), asyncio.Event())
asyncio.run(main(*sys.argv[1:]))
"""


async def test_kill_between_call_and_record_repeats_the_letter_once_and_counts_it(
    road, database, mailbox, settled
) -> None:
    mailbox.open()
    await road.ask()
    dsn = _dsn(database)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ONE_LOOP, dsn, str(mailbox.port),
        env={**os.environ, "FAILPOINTS": "notifier.sent:1:kill"},
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 30) == -9
    assert len(mailbox.letters) == 1
    assert await events_of(database) == []
    await database.pool.execute("UPDATE notice SET next_at = now() WHERE channel = 'email'")
    counted = MAYBE_TWICE.labels("email")._value.get()
    async with delivery(database, mailbox.channel()):
        assert await settled(ChannelName.EMAIL) == ("sent", 2, None)
    first, second = mailbox.letters
    assert first["Message-ID"] == second["Message-ID"]
    assert MAYBE_TWICE.labels("email")._value.get() == counted + 1
    assert [type_ for type_, _ in await events_of(database)] == ["notice.sent.v1"]


def _dsn(database) -> str:
    settings = database.pool._connect_args[0]
    return str(settings)


async def test_call_that_takes_too_long_is_cut_off_before_its_lease_ends(
    road, database, settled
) -> None:
    class Silent(InApp):
        async def send(self, message) -> None:  # noqa: ARG002
            await asyncio.Event().wait()

    await road.ask()
    pace = replace(QUICK, attempts=1, lease=timedelta(milliseconds=100))
    async with delivery(database, Silent(), pace=pace):
        found = await settled(ChannelName.IN_APP)
    assert found == ("failed", 1, "gave up: no answer in time")


async def test_attempt_that_outlived_its_lease_records_nothing(road, database) -> None:
    await road.ask()
    at_most = {"at_most": 1, "lease": timedelta(0)}
    async with database.transaction() as tx:
        (first,) = await store.take_due(tx, ChannelName.IN_APP, **at_most)
    async with database.transaction() as tx:
        (second,) = await store.take_due(tx, ChannelName.IN_APP, **at_most)
        assert (second.attempt, second.may_be_second) == (2, True)
        assert await store.settle(tx, first, "failed", "late") is False
        assert await store.settle(tx, second, "sent") is True
        assert await store.take_due(tx, ChannelName.IN_APP, **at_most) == []


async def test_letter_is_never_sent_in_the_clear_where_tls_is_asked_for(
    road, database, mailbox, settled
) -> None:
    mailbox.open()
    await road.ask()
    channel = replace(mailbox.channel(), tls="starttls")
    async with delivery(database, channel, pace=replace(QUICK, attempts=2)):
        state, _, reason = await settled(ChannelName.EMAIL)
    assert (state, mailbox.letters) == ("failed", [])
    assert reason.startswith("gave up: smtp")
