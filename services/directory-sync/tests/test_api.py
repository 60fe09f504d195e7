"""Over HTTP: who may, what is answered, and that nothing happens twice."""

from collections.abc import AsyncIterator

import httpx
import pytest
from chassis.http import Edge
from chassis.testing import Issuer, api_client
from directory_sync.api import REFUSALS, directory_router, status_router
from directory_sync.domain.plan import Threshold
from directory_sync.sources.files import Files


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(database, issuer, company) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    router = directory_router(Files(company), Threshold(10, 50))
    edge = Edge("directory-sync", database, verifier, [router, status_router], REFUSALS)
    async with api_client(edge) as client:
        client.headers.update(issuer.bearer("E1005", "admin"))
        yield client
    await verifier.close()


def key(value: str) -> dict[str, str]:
    return {"idempotency-key": value}


async def apply(client, number: str, **body) -> httpx.Response:
    return await client.post("/api/directory/apply", json=body, headers=key(number))


async def test_only_an_administrator_plans_and_applies(client, issuer) -> None:
    for headers in (issuer.bearer("E1001", "employee"), issuer.bearer("E1014", "auditor")):
        plan = await client.post("/api/directory/plan", headers=headers)
        done = await client.post("/api/directory/apply", json={}, headers={**headers, **key("1")})
        assert plan.status_code == done.status_code == 403
    status = await client.get("/api/directory/status", headers=issuer.bearer("E1014", "auditor"))
    assert status.status_code == 200


async def test_plan_is_shown_then_applied_by_its_digest_once(client, database) -> None:
    plan = (await client.post("/api/directory/plan")).json()
    assert plan["counts"]["added"] == 16
    assert plan["changes"]["departments_added"][0] == "D100"
    assert plan["within_threshold"] is True
    first = await apply(client, "k1", digest=plan["digest"])
    again = await apply(client, "k1", digest=plan["digest"])
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert await database.pool.fetchval("SELECT count(*) FROM outbox") == 24
    status = (await client.get("/api/directory/status")).json()
    assert status["counts"] == {"active": 16, "left": 0, "departments": 8, "departments_closed": 0}
    assert status["last_run"]["by"] == "E1005"
    assert status["last_run"]["result"] == "applied"
    assert status["in_step_since"] is not None


async def test_plan_that_changed_since_is_refused_with_the_new_digest(client, company) -> None:
    plan = (await client.post("/api/directory/plan")).json()
    path = company / "people.csv"
    path.write_text(path.read_text().replace("林晓", "林小"))
    refused = await apply(client, "k1", digest=plan["digest"])
    assert refused.status_code == 409
    now = (await client.post("/api/directory/plan")).json()
    assert refused.json()["digest"] == now["digest"] != plan["digest"]
    assert (await client.get("/api/directory/status")).json()["last_run"]["reason"] == "PlanChanged"


async def test_too_many_leavers_are_refused_with_numbers_and_a_way_out(client, company) -> None:
    await apply(client, "k1")
    path = company / "people.csv"
    kept = [line for line in path.read_text().splitlines() if line[:5] not in {"E1015", "E1016"}]
    path.write_text("\n".join([*kept[:-1], "#rows=14\n"]))
    refused = await apply(client, "k2", force=True)
    assert refused.status_code == 409
    assert "16 人中的 2 人" in refused.json()["detail"]
    english = await client.post(
        "/api/directory/apply", json={}, headers={**key("k3"), "accept-language": "en"}
    )
    assert "2 of 16 people would leave" in english.json()["detail"]
    done = await apply(client, "k4", digest=refused.json()["digest"], force=True)
    assert done.status_code == 200
    assert done.json()["counts"]["left"] == 2


async def test_broken_source_lists_every_problem_and_changes_nothing(client, company) -> None:
    path = company / "people.csv"
    path.write_text(path.read_text().replace("E1002,,zh", "E9999,,zh"))
    plan = (await client.post("/api/directory/plan")).json()
    assert plan["digest"] is None
    assert plan["problem_count"] == len(plan["problems"]) == 3
    assert plan["problems"][0] == {
        "file": "people.csv",
        "line": 2,
        "field": "manager_id",
        "rule": "unknown-reference",
        "zh": "找不到编号 E9999，请补充该行或改正。",
        "en": "There is no E9999: add its row or correct it.",
    }
    refused = await apply(client, "k1")
    assert refused.status_code == 422
    assert "people.csv 第 2 行 manager_id" in refused.json()["detail"]
    status = (await client.get("/api/directory/status")).json()
    assert status["counts"]["active"] == 0
    assert status["last_run"]["problems"][0] == {
        "file": "people.csv", "line": 2, "field": "manager_id", "rule": "unknown-reference",
    }  # fmt: skip


async def test_body_that_breaks_a_rule_is_told_by_field(client) -> None:
    wrong = await apply(client, "k1", digest="abc", hurry=True)
    assert wrong.status_code == 422
    assert {error["field"] for error in wrong.json()["errors"]} == {"/digest", "/hurry"}
    keyless = await client.post("/api/directory/apply", json={})
    assert keyless.status_code == 400
