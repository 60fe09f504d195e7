"""Requests that arrive together share a transaction, and nothing else."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import asyncpg
import httpx
import pytest
from chassis import together as together_module
from chassis.db import Database, Origin, Tx
from chassis.http import Edge
from chassis.idempotency import Keyed, OncePerKey
from chassis.problem import Problem, Refusal, Text
from chassis.testing import Issuer, api_client
from chassis.together import Asked, together
from fastapi import APIRouter, Response
from pydantic import BaseModel

SOLD_OUT = Refusal(409, "sold-out", Text("售罄", "Sold out."))


class Receipt(BaseModel):
    item: str
    company: int


class Shop:
    """Sells to all who wait at once; can be held shut, and breaks on a cursed item."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.groups: list[list[str]] = []
        self.asked = 0

    def router(self) -> APIRouter:
        router = APIRouter()

        async def sell(tx: Tx, asked: Sequence[Asked[str]]) -> list[Receipt | Exception]:
            await self.open.wait()
            items = [one.ask for one in asked]
            self.groups.append(items)
            wanted = [item for item in items if item != "nothing"]
            await tx.execute("INSERT INTO sale SELECT unnest($1::text[])", wanted)
            return [
                Problem(SOLD_OUT) if item == "nothing" else Receipt(item=item, company=len(items))
                for item in items
            ]

        @router.post("/api/sales/{item}")
        async def sale(item: str, once: OncePerKey) -> Response:
            self.asked += 1
            return await together(once, sell, item, status=201)

        return router


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def buy(database: Database, shop: Shop) -> AsyncIterator:
    await database.pool.execute("CREATE TABLE sale (item text CHECK (item <> 'cursed'))")
    issuer = Issuer()
    verifier = issuer.verifier()
    async with api_client(Edge("shop", database, verifier, [shop.router()])) as client:

        async def ask(item: str, key: str | None = None, body: str = "") -> httpx.Response:
            headers = issuer.bearer("E1") | {"idempotency-key": key or item}
            return await client.post(f"/api/sales/{item}", content=body, headers=headers)

        yield ask
    await verifier.close()


@pytest.fixture
async def behind_a_closed_door(shop: Shop, buy):
    """Ask for all of these while two earlier requests hold the shop; then open it."""

    async def ask(*asked: tuple[str, str, str]) -> list[httpx.Response]:
        shop.open.clear()
        first = [asyncio.create_task(buy(f"early-{n}")) for n in range(2)]
        late = [asyncio.create_task(buy(*one)) for one in asked]
        while shop.asked < len(first) + len(late):
            await asyncio.wait(late, timeout=0.01)
        await asyncio.wait(late, timeout=0.05)  # from the route into the group
        shop.open.set()
        await asyncio.gather(*first)
        return list(await asyncio.gather(*late))

    return ask


async def sold(database: Database) -> list[str]:
    rows = await database.pool.fetch("SELECT item FROM sale ORDER BY item")
    return [row["item"] for row in rows if not row["item"].startswith("early")]


async def test_those_who_wait_share_one_transaction_and_each_gets_its_own_answer(
    behind_a_closed_door, shop, database
) -> None:
    items = [f"item-{n:02}" for n in range(20)]

    answers = await behind_a_closed_door(*((item, item, "") for item in items))

    assert [answer.json()["item"] for answer in answers] == items
    assert {answer.status_code for answer in answers} == {201}
    assert max(len(group) for group in shop.groups) > 1
    assert await sold(database) == items


async def test_a_refusal_is_told_to_the_one_it_concerns(behind_a_closed_door, database) -> None:
    good = [f"item-{n:02}" for n in range(19)]

    *answers, refused = await behind_a_closed_door(
        *((item, item, "") for item in good), ("nothing", "n", "")
    )

    assert {answer.status_code for answer in answers} == {201}
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("sold-out")
    assert await sold(database) == good


async def test_one_that_breaks_the_transaction_breaks_it_for_nobody_else(
    behind_a_closed_door, shop, database
) -> None:
    good = [f"item-{n:02}" for n in range(19)]

    *answers, broken = await behind_a_closed_door(
        *((item, item, "") for item in good), ("cursed", "c", "")
    )

    assert {answer.status_code for answer in answers} == {201}
    assert broken.status_code == 500
    assert await sold(database) == good


async def test_a_group_that_gave_way_to_another_transaction_is_tried_one_by_one(
    behind_a_closed_door, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_facts, gave_way = Tx.write_facts, []

    async def gives_way_once(tx: Tx) -> None:
        if len(shop.groups[-1]) > 1 and not gave_way:
            gave_way.append(shop.groups[-1])
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        await write_facts(tx)

    monkeypatch.setattr(Tx, "write_facts", gives_way_once)
    answers = await behind_a_closed_door(*((item, item, "") for item in ("a", "b", "c")))
    assert [one.status_code for one in answers] == [201] * 3
    assert len(gave_way) == 1


async def test_one_key_twice_in_a_group_has_one_effect(behind_a_closed_door, buy, database) -> None:
    answers = await behind_a_closed_door(("tea", "k", ""), ("tea", "k", ""))

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert await sold(database) == ["tea"]
    again = await buy("tea", "k")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")


async def test_one_key_with_two_bodies_in_a_group_has_the_effect_of_the_first(
    behind_a_closed_door, buy, database
) -> None:
    answers = await behind_a_closed_door(("tea", "k", "one"), ("tea", "k", "two"))

    assert sorted(answer.status_code for answer in answers) == [201, 409]
    other = await buy("tea", "k", "three")
    assert other.status_code == 422
    assert await sold(database) == ["tea"]


async def test_a_group_that_dies_before_its_commit_leaves_nothing_and_its_keys_free(
    behind_a_closed_door, buy, database, monkeypatch
) -> None:
    plan = {("tx.before_commit", n): "raise" for n in range(1, 6)}
    monkeypatch.setattr("chassis.failpoints._PLAN", plan)
    monkeypatch.setattr("chassis.failpoints._passed", Counter())

    answers = await behind_a_closed_door(("tea", "t", ""), ("milk", "m", ""))

    assert {answer.status_code for answer in answers} == {500}
    assert await sold(database) == []
    for item, key in (("tea", "t"), ("milk", "m")):
        assert (await buy(item, key)).status_code == 201
    assert await sold(database) == ["milk", "tea"]


async def test_an_absent_database_is_told_to_all(
    behind_a_closed_door, database, monkeypatch
) -> None:
    async def away(*_: object) -> None:
        raise asyncpg.PostgresConnectionError("gone")

    monkeypatch.setattr("chassis.together.store", away)

    answers = await behind_a_closed_door(("tea", "t", ""), ("milk", "m", ""))

    assert {answer.status_code for answer in answers} == {503}
    assert await sold(database) == []


async def test_one_who_comes_in_the_very_moment_in_which_the_last_group_ends_is_served(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together_module, "_AT_ONCE", 1)

    async def answer(_: Tx, asked: Sequence[Asked[str]]) -> list[Receipt]:
        return [Receipt(item=one.ask, company=len(asked)) for one in asked]

    group = together_module._Group(database, answer)
    for moments in range(5):
        keyed = Keyed(("E1", "POST /api/sales", str(moments)), b"")
        one = together_module._Waiting(keyed, Asked("pen", Origin()), 200)
        async with asyncio.timeout(10):
            await group.join(one)
        for _ in range(moments):
            await asyncio.sleep(0)
