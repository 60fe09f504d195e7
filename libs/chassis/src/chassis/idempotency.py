"""Idempotency-Key: one key, one effect, one answer; stored in the transaction of the effect."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from chassis.auth import Me
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


# The lock and the look in one round trip.
_FIRST = """
SELECT alone, request_hash, status, response
  FROM (SELECT pg_try_advisory_xact_lock(hashtextextended($4, 0)) AS alone) l
  LEFT JOIN idempotency ON principal = $1 AND route = $2 AND key = $3
"""
_STORE = """
INSERT INTO idempotency (principal, route, key, request_hash, status, response)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true
"""


@dataclass(frozen=True, slots=True)
class Once:
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
        key = self.request.headers.get("idempotency-key", "")
        if not 0 < len(key) <= _MAX_KEY:
            raise Problem(KEY_MISSING, limit=_MAX_KEY)
        route = f"{self.request.method} {self.request.url.path}"
        asked = hashlib.sha256(await self.request.body()).digest()
        async with self.database.transaction() as tx:
            whose = (self.subject, route, key)
            stored = await tx.fetchrow(_FIRST, *whose, " ".join(whose))
            if stored is None or not stored["alone"]:
                raise Problem(IN_FLIGHT)
            if stored["request_hash"] is not None:
                if stored["request_hash"] != asked:
                    raise Problem(KEY_REUSED)
                return _answer(stored["response"], stored["status"], replayed=True)
            body = (await effect(tx)).model_dump_json().encode()
            if await tx.fetchval(_STORE, *whose, asked, status, body) is None:
                raise Problem(IN_FLIGHT)  # it ended between our look and our lock: ask again
        return _answer(body, status, replayed=False)


def _answer(body: bytes, status: int, *, replayed: bool) -> Response:
    headers = {"idempotent-replayed": "true"} if replayed else None
    return Response(body, status, headers=headers, media_type="application/json")


async def _once(request: Request, me: Me) -> Once:
    return Once(request, request.app.state.database, me.subject)


OncePerKey = Annotated[Once, Depends(_once)]
