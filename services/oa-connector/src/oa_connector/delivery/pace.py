"""How fast the loops run, and how one call of an OA is kept within its time."""

import asyncio
import contextlib
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from oa_connector.vendors import OAError
from oa_connector.vendors.turns import answered_within

T = TypeVar("T")

_ONE_A_SECOND = 120  # calls in a minute that let one row of each kind have a turn in a second


@dataclass(frozen=True, slots=True)
class Pace:
    """How the loops run; durations in seconds.

    `call` bounds the OA's share of one question. `lease` is longer than two, a create and its
    read-back: nobody else may take a row while a call for it can still take effect. What is left of
    it they may spend on waiting for turns at the OA's pace. `overlap` is how far two readings of
    an OA's list overlap: twice the largest error of its clock that goes unnoticed.
    """

    poll: float = 0.2
    call: float = 12.0
    lease: float = 60.0
    at_once: int = 8
    probe_every: float = 6 * 3600
    probe_again: float = 60.0
    reconcile_every: float = 300.0
    overlap: timedelta = timedelta(seconds=120)
    keep_callbacks: timedelta = timedelta(days=30)

    def rows_at_once(self, calls_per_minute: int) -> int:
        """As many as each wait about a second for a turn, with three kinds of work under way."""
        return max(1, min(self.at_once, calls_per_minute // _ONE_A_SECOND))

    def door(self, calls_per_minute: int) -> AbstractAsyncContextManager[object]:
        """What each row goes through: one by one where three at once would all wait too long."""
        return asyncio.Lock() if calls_per_minute < _ONE_A_SECOND else contextlib.nullcontext()

    async def within(self, call: Awaitable[T], *, holds_row: bool = True) -> T:
        """One question to an OA, cut off where a lease could run out under it.

        Without a row it may wait for its turns until the next comparison.
        """
        spare = max(0.0, self.lease / 2 - self.call)
        if not holds_row:
            spare = max(spare, self.reconcile_every)
        try:
            async with answered_within(self.call, spare):
                return await call
        except TimeoutError as late:
            raise OAError(f"no answer within {self.call} s") from late


async def pause(waited_for: asyncio.Event, seconds: float) -> None:
    """Until the event, or so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waited_for.wait(), seconds)
