"""Take a due notice, hand it to its channel with no transaction open, record what came of it."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from chassis import Database
from chassis.failpoints import failpoint
from events.notices import ChannelName, NoticeFailed, NoticeSent
from prometheus_client import Counter

from notifier import store
from notifier.channels import Channel, Refused, Unavailable
from notifier.channels.letters import compose
from notifier.domain import Addressed, pause_after

log = structlog.get_logger()
NOTICES = Counter(
    "tonglu_notices",
    "Attempts to tell somebody something, by channel and outcome.",
    ("channel", "outcome"),
)
MAYBE_TWICE = Counter(
    "tonglu_notices_maybe_twice",
    "Attempts after one that was cut off before its outcome was recorded.",
    ("channel",),
)


_WHEN_AWAY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long one channel tries. A call is cut off at half of the lease."""

    poll: timedelta = timedelta(milliseconds=200)
    at_once: int = 8
    attempts: int = 20
    first_pause: timedelta = timedelta(seconds=1)
    longest_pause: timedelta = timedelta(minutes=15)
    lease: timedelta = timedelta(minutes=2)


def delivering(
    channel: Channel, pace: Pace
) -> Callable[[Database, asyncio.Event], Awaitable[None]]:
    """The loop of one channel. Each has its own, so that a dead one holds up no other."""

    async def deliver(database: Database, draining: asyncio.Event) -> None:
        try:
            while not draining.is_set():
                pause = await _round(database, channel, pace)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(draining.wait(), pause.total_seconds())
        finally:
            await channel.close()

    deliver.__name__ = f"deliver-{channel.name.value}"
    return deliver


async def _round(database: Database, channel: Channel, pace: Pace) -> timedelta:
    """One handful, sent at once; how long to wait for the next. An away database is asked again."""
    try:
        async with database.transaction() as tx:
            taken = await store.take_due(tx, channel.name, at_most=pace.at_once, lease=pace.lease)
    except Exception:
        log.exception("notices not taken", channel=channel.name.value)
        return _WHEN_AWAY
    ends = await asyncio.gather(
        *(_deliver(database, channel, pace, one) for one in taken), return_exceptions=True
    )
    for end in ends:
        if isinstance(end, BaseException):
            # Its lease will run out, and it is tried again.
            log.error("notice not settled", channel=channel.name.value, exc_info=end)
    return timedelta(0) if len(taken) == pace.at_once else pace.poll


async def _deliver(database: Database, channel: Channel, pace: Pace, taken: store.Taken) -> None:
    if taken.may_be_second:
        MAYBE_TWICE.labels(channel.name.value).inc()
    try:
        await _send(channel, taken.notice, pace.lease / 2)
    except Refused as error:
        await _record_failure(database, channel, taken, str(error))
    except Unavailable as error:
        if taken.attempt >= pace.attempts:
            await _record_failure(database, channel, taken, f"gave up: {error}")
        else:
            await _record_pause(database, channel, pace, taken, str(error))
    else:
        await failpoint("notifier.sent")
        await _record_sent(database, channel, taken)


async def _send(channel: Channel, notice: Addressed, at_most: timedelta) -> None:
    if not notice.is_active:
        raise Refused("the recipient has left")
    try:
        async with asyncio.timeout(at_most.total_seconds()):
            await channel.send(compose(notice))
    except TimeoutError as error:
        raise Unavailable("no answer in time") from error


async def _record_sent(database: Database, channel: Channel, taken: store.Taken) -> None:
    notice = taken.notice
    async with database.transaction(taken.origin) as tx:
        if await store.settle(tx, taken, "sent"):
            tx.emit(
                NoticeSent(
                    recipient_id=notice.recipient_id,
                    notice_id=notice.notice_id,
                    document_id=notice.document_id,
                    template=notice.template,
                    channel=channel.name,
                    sent_at=tx.now,
                )
            )
    _account(channel.name, taken, "sent")


async def _record_failure(
    database: Database, channel: Channel, taken: store.Taken, reason: str
) -> None:
    notice = taken.notice
    async with database.transaction(taken.origin) as tx:
        if await store.settle(tx, taken, "failed", reason):
            tx.emit(
                NoticeFailed(
                    recipient_id=notice.recipient_id,
                    notice_id=notice.notice_id,
                    document_id=notice.document_id,
                    template=notice.template,
                    channel=channel.name,
                    attempts=taken.attempt,
                    reason=reason,
                    failed_at=tx.now,
                )
            )
    _account(channel.name, taken, "failed", reason)


async def _record_pause(
    database: Database, channel: Channel, pace: Pace, taken: store.Taken, reason: str
) -> None:
    pause = pause_after(taken.attempt, pace.first_pause, pace.longest_pause)
    jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads load, hides nothing
    async with database.transaction() as tx:
        await store.postpone(tx, taken, reason, tx.now + jittered)
    _account(channel.name, taken, "postponed", reason)


def _account(
    channel: ChannelName, taken: store.Taken, outcome: str, reason: str | None = None
) -> None:
    NOTICES.labels(channel.value, outcome).inc()
    log.info(
        "notice",
        notice_id=taken.notice.notice_id,
        document_id=taken.notice.document_id,
        channel=channel.value,
        attempt=taken.attempt,
        outcome=outcome,
        reason=reason,
    )
