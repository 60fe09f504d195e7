"""Bad input, as anyone may send it: refused with the field and the way out, nothing stored."""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import httpx
import pytest
from tonglu import demo, topology
from town import EMPLOYEE, MACHINE, STRANGER, Town, eventually

LINE: dict[str, Any] = demo.CLAIM["lines"][0]  # type: ignore[index, assignment]


def costing(amount: str, currency: str = "CNY") -> dict[str, Any]:
    line = deepcopy(LINE)
    line["amount"] = {"amount": amount, "currency": currency}
    return demo.CLAIM | {"lines": [line]}


@pytest.mark.parametrize(
    ("body", "field", "way_out"),
    [
        pytest.param(costing("1.005"), "/lines/0/amount", "at most 2 decimals", id="decimals"),
        pytest.param(costing("-5.00"), "/lines/0/amount", "above 0", id="negative"),
        pytest.param(costing("5", "XYZ"), "/lines/0/amount/currency", "ISO 4217", id="currency"),
        pytest.param(demo.CLAIM | {"lines": [LINE] * 10_000}, "/lines", "split", id="10,000 lines"),
    ],
)
async def test_a_draft_that_breaks_a_rule_is_refused_by_field_with_the_way_out(
    town: Town, body: dict[str, Any], field: str, way_out: str
) -> None:
    answer = await town.ask(EMPLOYEE, "claims", "POST", "/api/claims", json=body)
    if answer.status_code == 413:  # ten thousand lines may be too many bytes as well
        assert way_out in answer.json()["detail"]
        return
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert [error["field"] for error in errors] == [field]
    assert way_out in errors[0]["detail"]


async def test_two_megabytes_are_refused_with_the_limit_and_the_way_out(town: Town) -> None:
    body = demo.CLAIM | {"title": "x" * 2_000_000}
    answer = await town.ask(EMPLOYEE, "claims", "POST", "/api/claims", json=body)
    assert answer.status_code == 413
    assert "1048576 bytes; split it" in answer.json()["detail"]


@pytest.mark.parametrize("whose", ["unknown", "foreign"])
async def test_an_unknown_or_foreign_claim_is_404_and_both_look_alike(
    town: Town, whose: str
) -> None:
    claim_id = str(uuid.uuid4()) if whose == "unknown" else await town.draft()
    answer = await town.ask(STRANGER, "claims", "GET", f"/api/claims/{claim_id}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no such thing, or it is not yours."


async def test_a_second_submit_with_the_same_key_has_the_same_answer_and_one_event(
    town: Town,
) -> None:
    claim_id, key = await town.draft(), str(uuid.uuid4())
    first = await town.submit(claim_id, key=key)
    second = await town.submit(claim_id, key=key)
    assert (first.status_code, first.content) == (202, second.content)
    assert second.status_code == 202
    assert second.headers["idempotent-replayed"] == "true"
    await town.arrived([claim_id])
    types = [hop.type for hop in await town.hops(claim_id)]
    assert types.count("claim.submitted.v1") == 1


async def test_the_same_key_with_another_body_is_refused_with_the_way_out(town: Town) -> None:
    claim_id, key = await town.draft(), str(uuid.uuid4())
    await town.submit(claim_id, key=key)
    other = await town.ask(
        *(EMPLOYEE, "claims", "POST", f"/api/claims/{claim_id}/submit"),
        json={"version": 1},
        headers={"idempotency-key": key},
    )
    assert other.status_code == 422
    assert "take a new key" in other.json()["detail"]


async def test_a_forged_callback_is_401_and_nothing_is_stored(town: Town) -> None:
    answer = await _call_back(town, secret="not the OA's", delivery="forged")
    assert answer.status_code == 401
    assert await _stored(town, "forged") == 0


async def test_a_replayed_callback_is_401_and_stored_once(town: Town) -> None:
    moment = str(int(time.time()))
    first = await _call_back(town, delivery="first", moment=moment)
    assert (first.status_code, await _stored(town, "first")) == (204, 1)
    for delivery in ("first", "under another id"):
        again = await _call_back(town, delivery=delivery, moment=moment)
        assert again.status_code == 401
    assert await _stored(town, "under another id") == 0
    late = await _call_back(town, delivery="late", moment=str(int(time.time()) - 3600))
    assert (late.status_code, await _stored(town, "late")) == (401, 0)


async def test_the_oas_own_callbacks_are_believed(town: Town) -> None:
    """The guard above must not be one that refuses everybody."""
    rows = await town.sql("oa-connector", "SELECT count(*) AS n FROM callback")
    claim_id = await town.submitted()
    await town.arrived([claim_id])

    async def heard() -> bool:
        now = await town.sql("oa-connector", "SELECT count(*) AS n FROM callback")
        return bool(now[0]["n"] > rows[0]["n"])

    await eventually(heard)


async def test_a_truncated_directory_file_is_refused_and_the_old_state_stands(town: Town) -> None:
    file = town.company_folder / "people.csv"
    whole, before = file.read_bytes(), await _directory(town)
    file.write_bytes(whole[: len(whole) // 2])
    try:
        plan = (await town.ask(MACHINE, "directory-sync", "POST", "/api/directory/plan")).json()
        assert plan["digest"] is None
        assert {"file", "line", "field", "rule"} <= set(plan["problems"][0])
        applied = await town.ask(
            *(MACHINE, "directory-sync", "POST", "/api/directory/apply"),
            json={},
            headers={"idempotency-key": str(uuid.uuid4())},
        )
        assert applied.status_code == 422
        assert "nothing was changed" in applied.json()["detail"]
        assert (await _directory(town))["counts"] == before["counts"]
    finally:
        file.write_bytes(whole)


async def _directory(town: Town) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await town.get(MACHINE, "directory-sync", "/api/directory/status")
    return found


async def _call_back(
    town: Town, *, delivery: str, secret: str = "", moment: str = ""
) -> httpx.Response:
    """What the OA's host sends after a change, rightly signed unless under another secret."""
    moment = moment or str(int(time.time()))
    told = {"event": "TASK_COMPLETED", "processInstanceId": "none-of-ours", "businessKey": None}
    body = json.dumps(told).encode()
    key = (secret or town.people.secrets.oa_webhook).encode()
    signature = hmac.new(key, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return await town.http.post(
        f"http://127.0.0.1:{town.stack.port('oa-connector')}/callbacks/{topology.TENANT}",
        content=body,
        headers={
            "x-oa-timestamp": moment,
            "x-oa-delivery": delivery,
            "x-oa-signature": signature,
        },
    )


async def _stored(town: Town, delivery: str) -> int:
    rows = await town.sql(
        "oa-connector", "SELECT count(*) AS n FROM callback WHERE delivery_id = $1", delivery
    )
    return int(rows[0]["n"])
