"""Group commit: requests that arrive together share one transaction, each with its own answer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from fastapi import Response
from msgspec import Struct
from pydantic import BaseModel

from chassis.db import AWAY, GAVE_WAY, Database, Origin, Tx
from chassis.idempotency import IN_FLIGHT, Keyed, Once, Reply, look, store
from chassis.problem import Problem
from chassis.telemetry import traceparent

_MOST = 64
_AT_ONCE = 4  # one group works in Python while the others wait for the database

A = TypeVar("A")


class Asked(Struct, Generic[A], frozen=True):
    """What one request asks for, and the origin of the facts that follow from it."""

    ask: A
    origin: Origin


Effect = Callable[[Tx, Sequence[Asked[Any]]], Awaitable[Sequence[BaseModel | Exception]]]


async def together(once: Once, effect: Effect, ask: object, *, status: int = 200) -> Response:
    """Like `once(effect)`, for a hot route: `effect` is handed all that have arrived meanwhile.

    It answers each, in order, with a model or with the refusal to raise; a refusal leaves nothing
    behind. A failure of the whole makes each try alone, so that none fails because of another.

    Raises:
        Problem: as `once`; and whatever the effect refuses this one with.
    """
    groups: dict[Effect, _Group] = once.request.app.state.groups
    group = groups.setdefault(effect, _Group(once.database, effect))
    waiting = _Waiting(await once.keyed(), Asked(ask, Origin(traceparent=traceparent())), status)
    return (await group.join(waiting)).response


@dataclass(slots=True, eq=False)
class _Waiting:
    keyed: Keyed
    asked: Asked[Any]
    status: int
    reply: asyncio.Future[Reply] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, answer: Reply | BaseException) -> None:
        """Answer it, unless whoever asked has gone."""
        if self.reply.done():
            return
        if isinstance(answer, Reply):
            self.reply.set_result(answer)
        else:
            self.reply.set_exception(answer)


@dataclass(slots=True)
class _Group:
    """Those who wait for one kind of effect.

    Nobody waits for company: a group is who came while those before it were at work.
    """

    database: Database
    effect: Effect
    waiting: deque[_Waiting] = field(default_factory=deque)
    working: set[asyncio.Task[None]] = field(default_factory=set)

    async def join(self, one: _Waiting) -> Reply:
        self.waiting.append(one)
        if len(self.working) < _AT_ONCE:
            self.working.add(asyncio.create_task(self._work()))
        return await one.reply

    async def _work(self) -> None:
        await asyncio.sleep(0)  # those who are being read at this very moment come along
        while self.waiting:
            size = min(len(self.waiting), _MOST)
            await self._settle([self.waiting.popleft() for _ in range(size)])
        # At once, not when the task is over: who comes between would find no one at work.
        self.working.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            answers = await self._commit(group)
        except Exception as failure:  # noqa: BLE001 -- each is told, alone if there are several
            is_away = isinstance(failure, AWAY) and not isinstance(failure, GAVE_WAY)
            if len(group) > 1 and not is_away:
                for one in group:
                    await self._settle([one])
                return
            answers = [failure] * len(group)
        for one, answer in zip(group, answers, strict=True):
            one.settle(answer)

    async def _commit(self, group: Sequence[_Waiting]) -> list[Reply | BaseException]:
        """The answers are given out after the commit, never before."""
        async with self.database.transaction() as tx:
            answers = _first_of_each_key(group, await look(tx, [one.keyed for one in group]))
            fresh = [place for place, answer in enumerate(answers) if answer is None]
            if fresh:
                made = await self.effect(tx, [group[place].asked for place in fresh])
                for place, model in zip(fresh, made, strict=True):
                    answers[place] = _reply(group[place], model)
            new = {group[place].keyed: answers[place] for place in fresh}
            kept = {keyed: reply for keyed, reply in new.items() if isinstance(reply, Reply)}
            if kept:
                await store(tx, kept)
        return [answer for answer in answers if answer is not None]


def _first_of_each_key(
    group: Sequence[_Waiting], found: Sequence[Reply | Problem | None]
) -> list[Reply | BaseException | None]:
    """A key that comes twice in one group: the second finds the first in flight."""
    seen: set[tuple[str, str, str]] = set()
    answers: list[Reply | BaseException | None] = []
    for one, answer in zip(group, found, strict=True):
        is_second = answer is None and one.keyed.whose in seen
        answers.append(Problem(IN_FLIGHT) if is_second else answer)
        seen.add(one.keyed.whose)
    return answers


def _reply(one: _Waiting, made: BaseModel | Exception) -> Reply | Exception:
    if isinstance(made, Exception):
        return made
    return Reply(one.status, made.model_dump_json().encode())
