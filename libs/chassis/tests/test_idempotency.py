"""One key, one effect, one answer."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from bus import event_on, topic_named
from chassis.db import Database, Tx
from chassis.http import Edge
from chassis.idempotency import OncePerKey
from chassis.testing import Issuer, api_client
from fastapi import APIRouter, Response
from pydantic import BaseModel

SOLD = event_on(topic_named("test.shop"), "test.shop.sold")


class Order(BaseModel):
    item: str


class Receipt(BaseModel):
    number: int


class Shop:
    """Counts its effects in the database and can be held open in the middle of one."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.fail = False

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.post("/api/orders")
        async def order(order: Order, once: OncePerKey) -> Response:
            async def effect(tx: Tx) -> Receipt:
                self.entered.set()
                await self.go_on.wait()
                number = await tx.fetchval("UPDATE shop SET sold = sold + 1 RETURNING sold")
                if self.fail:
                    raise RuntimeError("after the effect")
                tx.emit(SOLD(key_="shop", n=number))
                return Receipt(number=number)

            return await once(effect, status=202)

        return router


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(
    database: Database, issuer: Issuer, shop: Shop
) -> AsyncIterator[httpx.AsyncClient]:
    await database.pool.execute("CREATE TABLE shop AS SELECT 0 AS sold")
    verifier = issuer.verifier()
    async with api_client(Edge("shop", database, verifier, [shop.router()])) as client:
        yield client
    await verifier.close()


async def _order(client, issuer, *, key: str | None = "k1", item: str = "tea", who: str = "E1"):
    headers = issuer.bearer(who) | ({"idempotency-key": key} if key is not None else {})
    return await client.post("/api/orders", json={"item": item}, headers=headers)


async def test_second_request_with_the_same_key_gets_the_same_answer_and_no_effect(
    client, issuer, database
) -> None:
    first = await _order(client, issuer)
    second = await _order(client, issuer)
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert await database.pool.fetchval("SELECT sold FROM shop") == 1


async def test_a_fact_is_written_once_with_its_answer_and_wakes_the_relay(
    client, issuer, database
) -> None:
    woken: list[bool] = []
    database.on_facts = lambda: woken.append(True)
    for key in ("k1", "k1", "k2"):
        await _order(client, issuer, key=key)
    rows = await database.pool.fetch("SELECT version, payload FROM outbox ORDER BY seq")
    assert [(row["version"], b'"n":%d' % row["version"] in row["payload"]) for row in rows] == [
        (1, True),
        (2, True),
    ]
    assert len(woken) == 2


async def test_same_key_with_another_body_is_refused(client, issuer) -> None:
    await _order(client, issuer)
    answer = await _order(client, issuer, item="coffee")
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("idempotency-key-reused")


async def test_same_key_while_the_first_is_in_flight_is_answered_409(client, issuer, shop) -> None:
    shop.go_on.clear()
    first = asyncio.create_task(_order(client, issuer))
    await shop.entered.wait()
    second = await _order(client, issuer)
    shop.go_on.set()
    assert (second.status_code, (await first).status_code) == (409, 202)


async def test_keys_of_two_people_do_not_meet(client, issuer, database) -> None:
    await _order(client, issuer, who="E1")
    await _order(client, issuer, who="E2")
    assert await database.pool.fetchval("SELECT sold FROM shop") == 2


async def test_failed_effect_leaves_the_key_free(client, issuer, shop, database) -> None:
    shop.fail = True
    assert (await _order(client, issuer)).status_code == 500
    shop.fail = False
    assert (await _order(client, issuer)).status_code == 202
    assert await database.pool.fetchval("SELECT sold FROM shop") == 1


@pytest.mark.parametrize("key", [None, "", "k" * 201])
async def test_missing_or_overlong_key_is_answered_400(client, issuer, key) -> None:
    assert (await _order(client, issuer, key=key)).status_code == 400
