"""The trace of a request goes on in the facts that follow from it, recorded or not."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from bus import event_on, topic_named
from chassis import telemetry
from chassis.db import Database
from chassis.http import Db, Edge
from chassis.testing import Issuer, api_client
from fastapi import APIRouter

RUNG = event_on(topic_named("test.bell"), "test.bell.rung")
SAMPLED = 0x01  # of the flags of W3C Trace Context
CALLER = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    router = APIRouter()

    @router.post("/api/bell")
    async def ring(database: Db) -> None:
        async with database.transaction() as tx:
            tx.emit(RUNG(key_="bell", n=1))

    telemetry.configure("test", ratio=1.0, endpoint=None)
    verifier = Issuer().verifier()
    edge = Edge("bell", database, verifier, public_routers=[router])
    async with api_client(edge) as client:
        yield client
    await verifier.close()


async def rung(client: httpx.AsyncClient, database: Database, **headers: str) -> list[str]:
    """The parts of the traceparent in the outbox."""
    answer = await client.post("/api/bell", headers=headers)
    assert answer.status_code == 200
    said = json.loads(await database.pool.fetchval("SELECT headers FROM outbox"))
    return said["traceparent"].split("-")


async def test_without_an_endpoint_a_trace_has_ids_and_is_not_recorded(client, database) -> None:
    _, trace, span, flags = await rung(client, database)
    assert int(trace, 16)
    assert int(span, 16)
    assert not int(flags, 16) & SAMPLED


async def test_a_caller_who_samples_is_followed(client, database) -> None:
    parent = f"00-{CALLER}-b7ad6b7169203331-01"
    _, trace, span, flags = await rung(client, database, traceparent=parent)
    assert trace == CALLER
    assert int(flags, 16) & SAMPLED
    assert span != "b7ad6b7169203331"
