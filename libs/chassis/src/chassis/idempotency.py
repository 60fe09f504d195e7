"""Idempotency-Key: one key, one effect, one answer; stored in the transaction of the effect."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated

from asyncpg import Record
from fastapi import Depends, Request, Response
from msgspec import Struct
from pydantic import BaseModel

from chassis.db import Database, Tx
from chassis.problem import Problem, Refusal, Text

_MAX_KEY = 200

KEY_MISSING = Refusal(
    400,
    "idempotency-key-missing",
    Text(
        "请带上 Idempotency-Key 请求头（1–{limit} 个字符），重试时用同一个值。",
        "Send an Idempotency-Key header (1 to {limit} characters), the same one when you retry.",
    ),
)
KEY_REUSED = Refusal(
    422,
    "idempotency-key-reused",
    Text(
        "这个 Idempotency-Key 已用于另一份内容；新的内容请换新的键。",
        "This Idempotency-Key was used with another body; take a new key for new content.",
    ),
)
IN_FLIGHT = Refusal(
    409,
    "idempotency-key-in-flight",
    Text(
        "同一个 Idempotency-Key 的请求正在处理，请稍后重试。",
        "A request with this Idempotency-Key is being handled; try again shortly.",
    ),
)


# The locks and the look in one round trip.
_LOOK = """
SELECT alone, request_hash, status, response
  FROM (SELECT n, p, r, k,
               pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', p, r, k), 0)) AS alone
          FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS a (p, r, k, n)) asked
  LEFT JOIN idempotency ON principal = p AND route = r AND key = k
 ORDER BY n
"""
_STORE = """
INSERT INTO idempotency (principal, route, key, request_hash, status, response)
SELECT * FROM unnest($7::text[], $8::text[], $9::text[], $10::bytea[], $11::integer[], $12::bytea[])
ON CONFLICT DO NOTHING
"""


class Keyed(Struct, frozen=True):
    """One request under its key: `whose` is (principal, route, key), `asked` the body's hash."""

    whose: tuple[str, str, str]
    asked: bytes


class Reply(Struct, frozen=True):
    """The answer that belongs to a key."""

    status: int
    body: bytes
    is_replayed: bool = False

    @property
    def response(self) -> Response:
        headers = {"idempotent-replayed": "true"} if self.is_replayed else None
        return Response(self.body, self.status, headers=headers, media_type="application/json")


async def look(tx: Tx, requests: Sequence[Keyed]) -> list[Reply | Problem | None]:
    """For each its first answer, a refusal, or None: it is the first. Locked until the end."""
    rows = await tx.fetch(_LOOK, *_columns(requests))
    return [_found(one, row) for one, row in zip(requests, rows, strict=True)]


def _found(request: Keyed, row: Record) -> Reply | Problem | None:
    if not row["alone"]:
        return Problem(IN_FLIGHT)
    if row["request_hash"] is None:
        return None
    if row["request_hash"] != request.asked:
        return Problem(KEY_REUSED)
    return Reply(row["status"], row["response"], is_replayed=True)


async def store(tx: Tx, answers: Mapping[Keyed, Reply]) -> None:
    """Keep the answers beside their effects, and write the facts of these in the same round trip.

    Raises:
        Problem: 409, one of them was answered between our look and our lock: ask again.
    """
    done = await tx.write_facts_and(
        _STORE,
        *_columns(answers),
        [request.asked for request in answers],
        [reply.status for reply in answers.values()],
        [reply.body for reply in answers.values()],
    )
    if done != f"INSERT 0 {len(answers)}":
        raise Problem(IN_FLIGHT)


def _columns(requests: Iterable[Keyed]) -> list[list[str]]:
    return [list(column) for column in zip(*(one.whose for one in requests), strict=True)]


class Once(Struct, frozen=True):
    """Runs an effect once per key. Call it with the effect; it answers the first time's answer."""

    request: Request
    database: Database
    subject: str

    async def __call__(
        self, effect: Callable[[Tx], Awaitable[BaseModel]], *, status: int = 200
    ) -> Response:
        """Open the transaction, run the effect or find its answer.

        Raises:
            Problem: 400 no key, 409 the first is in flight, 422 the key came with another body.
        """
        keyed = await self.keyed()
        async with self.database.transaction() as tx:
            (found,) = await look(tx, [keyed])
            if isinstance(found, Problem):
                raise found
            if found is None:
                found = Reply(status, (await effect(tx)).model_dump_json().encode())
                await store(tx, {keyed: found})
        return found.response

    async def keyed(self) -> Keyed:
        """This request under its key.

        Raises:
            Problem: 400, there is none, or it is too long.
        """
        key = self.request.headers.get("idempotency-key", "")
        if not 0 < len(key) <= _MAX_KEY:
            raise Problem(KEY_MISSING, limit=_MAX_KEY)
        route = f"{self.request.method} {self.request.scope['path']}"
        asked = hashlib.sha256(await self.request.body()).digest()
        return Keyed((self.subject, route, key), asked)


async def _once(request: Request) -> Once:
    return Once(request, request.app.state.database, request.state.principal.subject)


OncePerKey = Annotated[Once, Depends(_once)]
