"""The edge on its own: who may ask, what is refused, and in which words."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from chassis.auth import Me, needs
from chassis.db import Database
from chassis.http import Edge, Health
from chassis.testing import Issuer, api_client, until_one_waits_for_a_lock
from fastapi import APIRouter
from pydantic import BaseModel, Field


class Thing(BaseModel, extra="forbid"):
    amount: Decimal = Field(gt=0, decimal_places=2)


def _routes() -> APIRouter:
    router = APIRouter()

    @router.post("/api/things")
    async def add(thing: Thing, me: Me) -> dict[str, str]:
        return {"by": me.subject, "kind": me.kind, "amount": str(thing.amount)}

    @router.get("/api/ledger", dependencies=[needs("finance")])
    async def ledger() -> dict[str, str]:
        return {}

    @router.get("/api/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of ours")

    return router


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def client(
    database: Database, issuer: Issuer, health: Health
) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    verifier.refresh_seconds = 0.0
    edge = Edge("test", database, verifier, [_routes()], body_bytes=10_000, health=health)
    async with api_client(edge) as client:
        yield client
    await verifier.close()


async def test_request_without_a_token_is_answered_401_in_the_callers_language(client) -> None:
    chinese = await client.post("/api/things", json={"amount": "1.00"})
    english = await client.get("/api/ledger", headers={"accept-language": "fr, en;q=0.8, zh;q=0.1"})
    assert chinese.status_code == english.status_code == 401
    assert chinese.headers["content-type"] == "application/problem+json"
    assert chinese.headers["www-authenticate"] == "Bearer"
    assert "请先登录" in chinese.json()["detail"]
    assert "Sign in first" in english.json()["detail"]


async def test_every_route_but_health_asks_for_a_token(client) -> None:
    for path in ("/api/ledger", "/api/broken", "/metrics", "/openapi.json"):
        assert (await client.get(path)).status_code == 401, path
    for probe in ("live", "ready", "startup"):
        assert (await client.get(f"/healthz/{probe}")).status_code == 200


async def test_person_and_machine_are_told_apart(client, issuer) -> None:
    person = await client.post(
        "/api/things", json={"amount": "1.00"}, headers=issuer.bearer("E1001", "employee")
    )
    machine = await client.post(
        "/api/things", json={"amount": "1.00"}, headers=issuer.bearer("erp", machine=True)
    )
    assert (person.json()["kind"], machine.json()["kind"]) == ("person", "machine")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"aud": "another-api"},
        {"iss": "http://another.test"},
        {"nbf": 32503680000},
        {"roles": "finance"},
    ],
)
async def test_token_with_a_wrong_claim_is_refused(client, issuer, claims: dict[str, Any]) -> None:
    token = issuer.token("E1003", "finance", **claims)
    answer = await client.get("/api/ledger", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_token_of_a_foreign_key_is_refused(client) -> None:
    stranger = Issuer()
    answer = await client.get("/api/ledger", headers=stranger.bearer("E1003", "finance"))
    assert answer.status_code == 401


async def test_key_rotation_is_followed_without_a_restart(client, issuer) -> None:
    assert (await client.get("/api/ledger", headers=issuer.bearer("a", "finance"))).is_success
    issuer.rotate()
    assert (await client.get("/api/ledger", headers=issuer.bearer("b", "finance"))).is_success


async def test_wrong_role_is_answered_403_with_the_roles_that_may(client, issuer) -> None:
    answer = await client.get("/api/ledger", headers=issuer.bearer("E1001", "employee"))
    assert answer.status_code == 403
    assert "finance" in answer.json()["detail"]


async def test_bad_field_is_named_with_its_rule_and_the_way_out(client, issuer) -> None:
    headers = issuer.bearer("E1001") | {"accept-language": "en"}
    answer = await client.post("/api/things", json={"amount": "1.234", "x": 1}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "/amount", "rule": "decimal_max_places", "detail": "At most 2 decimal places."},
        {"field": "/x", "rule": "extra_forbidden", "detail": "Unknown field: remove it."},
    ]


@pytest.mark.parametrize("declared", [True, False])
async def test_body_over_the_cap_is_refused_whether_declared_or_streamed(
    client, issuer, declared: bool
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    content = b"x" * 20_000 if declared else stream()
    answer = await client.post("/api/things", content=content, headers=issuer.bearer("E1001"))
    assert answer.status_code == 413
    assert "10000" in answer.json()["detail"]


async def test_error_of_ours_shows_no_inside_and_carries_the_request_id(client, issuer) -> None:
    headers = issuer.bearer("E1001") | {"x-request-id": "abc-1"}
    answer = await client.get("/api/broken", headers=headers)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == "abc-1"


async def test_draining_is_not_ready_but_alive(client, health) -> None:
    health.draining = True
    assert (await client.get("/healthz/ready")).status_code == 503
    assert (await client.get("/healthz/live")).status_code == 200


async def test_startup_waits_for_every_check(client, health) -> None:
    joined = False
    health.checks["consumer"] = lambda: joined
    answer = await client.get("/healthz/startup")
    assert (answer.status_code, answer.json()["waiting"]) == (503, ["consumer"])
    joined = True
    assert (await client.get("/healthz/startup")).status_code == 200


async def test_saturated_pool_is_answered_503_within_the_deadline(database, issuer) -> None:
    database.acquire_timeout = 0.05
    router = APIRouter()

    @router.get("/api/rows")
    async def rows(me: Me) -> dict[str, int]:
        async with database.transaction() as tx:
            return {"one": await tx.fetchval("SELECT 1")}

    verifier = issuer.verifier()
    async with api_client(Edge("test", database, verifier, [router])) as client:
        held = [await database.pool.acquire() for _ in range(database.pool.get_max_size())]
        answer = await client.get("/api/rows", headers=issuer.bearer("E1001"))
        for connection in held:
            await database.pool.release(connection)
    await verifier.close()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_request_that_gave_way_to_another_transaction_is_answered_503_not_500(
    database, issuer
) -> None:
    await database.pool.execute("CREATE TABLE place (n int); INSERT INTO place VALUES (1), (2)")
    lock = "SELECT n FROM place WHERE n = $1 FOR UPDATE"
    router = APIRouter()

    @router.get("/api/rows")
    async def rows(me: Me) -> dict[str, int]:
        async with database.transaction() as tx:
            await tx.execute(lock, 2)
            return {"one": await tx.fetchval(lock, 1)}

    verifier = issuer.verifier()
    async with api_client(Edge("test", database, verifier, [router])) as client:
        async with database.pool.acquire() as other, other.transaction():
            await other.execute("SET LOCAL deadlock_timeout = '1min'")  # the request gives way
            await other.execute(lock, 1)
            asked = asyncio.create_task(client.get("/api/rows", headers=issuer.bearer("E1001")))
            await until_one_waits_for_a_lock(database)
            await other.execute(lock, 2)
        answer = await asked
    await verifier.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
