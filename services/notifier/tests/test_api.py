"""Over HTTP: my notices and no others, and the pipeline for those who may see it."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from chassis.http import Edge
from chassis.testing import Issuer, api_client
from notifier.api import notices_router, pipeline_router
from notifier.channels.in_app import InApp
from notifier.delivery import Pace, delivering


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(database, issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    edge = Edge("notifier", database, verifier, [notices_router, pipeline_router(1)])
    async with api_client(edge) as client:
        client.headers.update(issuer.bearer("E1002", "employee"))
        yield client
    await verifier.close()


@pytest.fixture
async def delivered(road, database, eventually) -> None:
    """Three tasks for the approver, in their inbox."""
    for number in range(3):
        await road.ask(f"C{number}")
    draining = asyncio.Event()
    loop = asyncio.ensure_future(delivering(InApp(), Pace())(database, draining))
    due = "SELECT count(*) FROM notice WHERE channel = 'in_app' AND state = 'due'"
    await eventually(lambda: database.pool.fetchval(due), lambda count: count == 0)
    draining.set()
    await loop


async def test_notice_is_shown_when_delivered_and_not_before(client, road) -> None:
    await road.ask()
    assert (await client.get("/api/notices")).json() == {"notices": [], "next": None}


async def test_approver_reads_their_notices_page_by_page(client, delivered) -> None:
    first = (await client.get("/api/notices", params={"limit": 2})).json()
    second = (await client.get("/api/notices", params={"before": first["next"]})).json()
    seen = [it["document_id"] for it in first["notices"] + second["notices"]]
    assert seen == ["C2", "C1", "C0"]
    assert second["next"] is None
    notice = first["notices"][0]
    assert notice["subject"] == "待您审批：上海出差"
    assert "林晓 提交的报销单「上海出差」（1,234.50 CNY）已到「直属上级」环节" in notice["body"]
    assert notice["read_at"] is None


async def test_read_notice_leaves_the_unread_list_and_keeps_its_first_time(
    client, delivered
) -> None:
    notice = (await client.get("/api/notices")).json()["notices"][0]
    path = f"/api/notices/{notice['notice_id']}/read"
    first, again = await client.post(path), await client.post(path)
    assert first.status_code == again.status_code == 200
    assert first.json()["read_at"] == again.json()["read_at"] is not None
    unread = (await client.get("/api/notices", params={"unread": "true"})).json()
    assert len(unread["notices"]) == 2


async def test_task_that_somebody_else_has_ended_asks_no_more(client, road, delivered) -> None:
    await road.end("C1")
    shown = (await client.get("/api/notices")).json()["notices"]
    assert [it["document_id"] for it in shown if it["done_at"]] == ["C1"]
    unread = (await client.get("/api/notices", params={"unread": "true"})).json()["notices"]
    assert [it["document_id"] for it in unread] == ["C2", "C0"]


async def test_foreign_and_unknown_notices_are_not_found(client, issuer, delivered) -> None:
    notice = (await client.get("/api/notices")).json()["notices"][0]["notice_id"]
    foreign = issuer.bearer("E1001", "employee", "admin")
    assert (await client.get("/api/notices", headers=foreign)).json()["notices"] == []
    for path in (f"/api/notices/{notice}/read", f"/api/notices/{notice[:-4]}0000/read"):
        assert (await client.post(path, headers=foreign)).status_code == 404
    wrong = await client.post("/api/notices/not-an-id/read")
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"].endswith("notice_id")


async def test_pipeline_shows_every_stage_to_those_who_may_see_it(client, issuer) -> None:
    assert (await client.get("/api/pipeline")).status_code == 403
    for role in ("finance", "admin", "auditor"):
        answer = await client.get("/api/pipeline", headers=issuer.bearer("E1003", role))
        assert [it["stage"] for it in answer.json()["stages"]] == [
            "submitted", "approving", "paying", "paid", "returned", "rejected", "withdrawn",
            "revoked",
        ]  # fmt: skip
    assert {it["claims"] for it in answer.json()["stages"]} == {0}
