"""Claims and payments over HTTP: what is answered, what is refused, and in which words."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from chassis import Received
from claims.payment import handlers as payment_handlers
from events import ContentHash, DocumentId, Envelope, Event, EventId
from events.workflow import ApprovalDecided, ApprovalRevoked, DocumentKind, Outcome

DINNER = {
    "category": "meal",
    "spent_on": "2026-11-20",
    "city": "上海",
    "amount": {"amount": "120.5", "currency": "CNY"},
}


def a_draft(*lines: dict[str, Any]) -> dict[str, Any]:
    return {"title": "上海客户现场", "lines": list(lines or (DINNER,))}


async def drafted(client: httpx.AsyncClient, *lines: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/api/claims", json=a_draft(*lines))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def submit(client, claim, key: str = "k-1", **body: Any) -> httpx.Response:
    path = f"/api/claims/{claim['id']}/submit"
    return await client.post(path, json=body or None, headers={"idempotency-key": key})


async def submitted(client: httpx.AsyncClient, *lines: dict[str, Any]) -> dict[str, Any]:
    answer = await submit(client, await drafted(client, *lines))
    assert answer.status_code == 202, answer.text
    return answer.json()


async def decide(database, claim: dict[str, Any], outcome: Outcome = Outcome.APPROVED) -> None:
    decision = ApprovalDecided(
        document_id=DocumentId(claim["id"]),
        document_kind=DocumentKind.CLAIM,
        revision=claim["revision"],
        outcome=outcome,
        content_hash=ContentHash(claim["content_hash"]),
        decided_at=claim["changed_at"],
    )
    await take_effect(database, decision)


async def take_effect(database, event: Event) -> None:
    async with database.transaction() as tx:
        envelope = Envelope(
            id=EventId(uuid4()), time=tx.now, sequence=1, correlation_id=event.key, event=event
        )
        await payment_handlers.on_approvals(tx, [Received(event.TOPIC.name, 0, 0, envelope)])


async def take_back(database, claim: dict[str, Any]) -> None:
    revoked = ApprovalRevoked(
        document_id=DocumentId(claim["id"]),
        document_kind=DocumentKind.CLAIM,
        revision=claim["revision"],
        via="flowable",
        reason="重复报销",
        revoked_at=claim["changed_at"],
    )
    await take_effect(database, revoked)


async def approved(client, database, finance) -> dict[str, Any]:
    """A claim with its requested payment."""
    claim = await submitted(client)
    await decide(database, claim)
    return (await client.get(f"/api/claims/{claim['id']}", headers=finance)).json()


async def facts(database) -> list[str]:
    async with database.transaction() as tx:
        return [row["type"] for row in await tx.fetch("SELECT type FROM outbox ORDER BY seq")]


@pytest.fixture
def finance(issuer) -> dict[str, str]:
    return issuer.bearer("finance-system", "finance", machine=True)


@pytest.fixture
def stranger(issuer) -> dict[str, str]:
    return issuer.bearer("E1002", "employee")


async def test_draft_is_kept_with_its_computed_total_and_its_moves(client) -> None:
    claim = await drafted(client, DINNER, DINNER)
    read = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert read == claim | {"payment": None}
    assert read["total"] == {"amount": "241.00", "currency": "CNY"}
    assert (read["status"], read["revision"], read["version"]) == ("draft", 0, 1)
    assert read["moves"] == ["edit", "submit"]
    assert [line["line_no"] for line in read["lines"]] == [1, 2]


async def test_draft_shows_what_policy_would_say(client) -> None:
    costly = DINNER | {"amount": {"amount": "200.00", "currency": "CNY"}}
    claim = await drafted(client, DINNER, costly)
    assert claim["lines"][0]["findings"] == []
    (finding,) = claim["lines"][1]["findings"]
    assert (finding["rule_id"], finding["severity"]) == ("meal.standard", "warn")
    assert finding["limit"] == {"amount": "150.00", "currency": "CNY"}
    assert "请在该行填写原因" in finding["zh"]


async def test_whole_draft_is_replaced_by_an_edit(client) -> None:
    claim = await drafted(client, DINNER, DINNER, DINNER)
    taxi = DINNER | {"category": "taxi", "city": None, "reason": "末班车后"}
    path = f"/api/claims/{claim['id']}"
    edit = {"title": "改", "lines": [taxi], "version": 1}
    edited = (await client.put(path, json=edit)).json()
    assert (edited["title"], edited["version"], len(edited["lines"])) == ("改", 2, 1)
    assert (await client.get(path)).json() == edited | {"payment": None}


async def test_edit_of_an_outdated_version_is_answered_409_with_both(client) -> None:
    claim = await drafted(client)
    path = f"/api/claims/{claim['id']}"
    edits = [client.put(path, json=a_draft() | {"version": 1}) for _ in range(2)]
    first, second = sorted(await asyncio.gather(*edits), key=lambda answer: answer.status_code)
    assert (first.status_code, second.status_code) == (200, 409)
    again = await client.put(path, json=a_draft() | {"version": 1})
    assert again.status_code == 409
    assert (again.json()["yours"], again.json()["current"]) == (1, 2)


@pytest.mark.parametrize(
    ("money", "field", "rule", "way_out"),
    [
        (("12.505", "CNY"), "", "decimals_too_many", "at most 2 decimals"),
        (("12.5", "JPY"), "", "decimals_too_many", "at most 0 decimals"),
        (("-1", "CNY"), "", "amount_not_positive", "above 0"),
        (("0.00", "CNY"), "", "amount_not_positive", "above 0"),
        (("1000000000", "CNY"), "", "amount_too_large", "split it"),
        (("1", "RMB"), "/currency", "currency_unknown", "such as CNY"),
        ((12.5, "CNY"), "/amount", "not_a_decimal_string", '"12.50"'),
        ((12, "CNY"), "/amount", "not_a_decimal_string", '"12.50"'),
        (("1e3", "CNY"), "/amount", "not_a_decimal_string", '"12.50"'),
        (("NaN", "CNY"), "/amount", "not_a_decimal_string", '"12.50"'),
    ],
)
async def test_bad_amount_is_answered_422_with_field_rule_and_way_out(
    client, money, field, rule, way_out
) -> None:
    line = DINNER | {"amount": dict(zip(("amount", "currency"), money, strict=True))}
    english = await client.post("/api/claims", json=a_draft(line))
    chinese = await client.post(
        "/api/claims", json=a_draft(line), headers={"accept-language": "zh-CN"}
    )
    assert english.status_code == chinese.status_code == 422
    (error,) = english.json()["errors"]
    assert (error["field"], error["rule"]) == (f"/lines/0/amount{field}", rule)
    assert way_out in error["detail"]
    assert not chinese.json()["errors"][0]["detail"].isascii()


@pytest.mark.parametrize(
    ("changed", "field", "rule"),
    [
        ({"total": "1.00"}, "/total", "extra_forbidden"),
        ({"title": ""}, "/title", "string_too_short"),
        ({"title": "长" * 121}, "/title", "string_too_long"),
        ({"title": "a\u0000b"}, "/title", "control_character"),
        ({"lines": []}, "/lines", "too_short"),
        ({"lines": [DINNER] * 201}, "/lines", "too_long"),
        ({"lines": [DINNER | {"spent_on": "yesterday"}]}, "/lines/0/spent_on", None),
        ({"lines": [DINNER | {"category": "Hotel!"}]}, "/lines/0/category", None),
        (
            {"lines": [DINNER, DINNER | {"amount": {"amount": "1", "currency": "USD"}}]},
            "/lines",
            "currencies_mixed",
        ),
    ],
)
async def test_bad_draft_is_answered_422_with_its_field(client, changed, field, rule) -> None:
    answer = await client.post("/api/claims", json=a_draft() | changed)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert rule in {None, error["rule"]}


async def test_ten_thousand_lines_are_refused_with_the_way_out(client) -> None:
    line = {
        "category": "meal",
        "spent_on": "2026-11-20",
        "amount": {"amount": "1", "currency": "CNY"},
    }
    answer = await client.post("/api/claims", json=a_draft(*[line] * 10_000))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "/lines"
    assert "At most 200 items" in error["detail"]
    assert "split it" in error["detail"]


async def test_two_megabytes_are_refused_before_they_are_read(client) -> None:
    answer = await client.post("/api/claims", json=a_draft() | {"title": "x" * 2_000_000})
    assert answer.status_code == 413
    assert "1048576" in answer.json()["detail"]


@pytest.mark.parametrize("id_", ["019ac0d2-7c1e-7b3a-9f5e-2d4b6a8c0e11", "x", "%00", "a" * 36])
async def test_unknown_claim_is_answered_404_on_every_route(client, id_: str) -> None:
    answers = [
        await client.get(f"/api/claims/{id_}"),
        await client.get(f"/api/claims/{id_}/timeline"),
        await client.put(f"/api/claims/{id_}", json=a_draft() | {"version": 1}),
        await client.post(f"/api/claims/{id_}/submit", headers={"idempotency-key": "k"}),
        await client.post(f"/api/claims/{id_}/withdraw"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5


async def test_foreign_claim_is_answered_404_as_if_it_were_not_there(client, stranger) -> None:
    claim = await drafted(client)
    path = f"/api/claims/{claim['id']}"
    key = {"idempotency-key": "k"}
    answers = [
        await client.get(path, headers=stranger),
        await client.get(f"{path}/timeline", headers=stranger),
        await client.put(path, json=a_draft() | {"version": 1}, headers=stranger),
        await client.post(f"{path}/submit", headers=stranger | key),
        await client.post(f"{path}/withdraw", headers=stranger),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert (await client.get("/api/claims", headers=stranger)).json()["items"] == []


@pytest.mark.parametrize("role", ["finance", "auditor", "admin"])
async def test_those_who_may_see_all_see_a_claim_and_its_road(client, issuer, role) -> None:
    claim = await drafted(client)
    path = f"/api/claims/{claim['id']}"
    headers = issuer.bearer("E9", role)
    assert (await client.get(path, headers=headers)).json()["id"] == claim["id"]
    assert (await client.get(f"{path}/timeline", headers=headers)).is_success


async def test_list_pages_through_own_claims_newest_first(client) -> None:
    ids = [(await drafted(client))["id"] for _ in range(5)]
    seen, after = [], None
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = (await client.get("/api/claims", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        if (after := page["next"]) is None:
            break
    assert seen == ids[::-1]
    drafts = (await client.get("/api/claims", params={"status": "paid"})).json()
    assert drafts == {"items": [], "next": None}


async def test_submit_is_accepted_with_the_hash_of_what_was_handed_in(client, database) -> None:
    claim = await submitted(client)
    assert (claim["status"], claim["revision"], claim["moves"]) == ("submitted", 1, ["withdraw"])
    assert len(claim["content_hash"]) == 64
    assert await facts(database) == ["claim.submitted.v1"]


async def test_second_submit_with_the_same_key_has_the_same_answer_and_one_event(
    client, database
) -> None:
    claim = await drafted(client)
    first, second = await submit(client, claim), await submit(client, claim)
    assert first.status_code == second.status_code == 202
    assert first.content == second.content
    assert await facts(database) == ["claim.submitted.v1"]


async def test_same_key_with_another_body_is_answered_422(client) -> None:
    claim = await drafted(client)
    assert (await submit(client, claim, version=1)).status_code == 202
    assert (await submit(client, claim, version=2)).status_code == 422


async def test_second_submit_with_another_key_is_answered_409_with_the_status(client) -> None:
    claim = await submitted(client)
    answer = await submit(client, claim, key="k-2")
    assert answer.status_code == 409
    assert (answer.json()["status"], answer.json()["claim_status"]) == (409, "submitted")
    assert "submitted" in answer.json()["detail"]


async def test_submit_of_another_version_than_the_seen_one_is_answered_409(client) -> None:
    assert (await submit(client, await drafted(client), version=7)).status_code == 409


async def test_submit_without_a_key_is_answered_400(client) -> None:
    claim = await drafted(client)
    assert (await client.post(f"/api/claims/{claim['id']}/submit")).status_code == 400


async def test_broken_limits_are_answered_422_line_by_line(client, database) -> None:
    def cost(amount: str, **changed: str) -> dict[str, Any]:
        return DINNER | {"amount": {"amount": amount, "currency": "CNY"}} | changed

    claim = await drafted(client, cost("1000.01"), DINNER, cost("150.01"), cost("1", category="x"))
    answer = await submit(client, claim)
    assert answer.status_code == 422
    errors = {error["field"]: error for error in answer.json()["errors"]}
    assert list(errors) == ["/lines/0/amount", "/lines/2/reason", "/lines/3/amount"]
    assert errors["/lines/0/amount"]["rule"] == "meal.ceiling"
    for said in ("1000.01 CNY", "1000.00 CNY", "lower it"):
        assert said in errors["/lines/0/amount"]["detail"]
    assert await facts(database) == []


async def test_warning_with_a_reason_travels_with_the_claim(client, database) -> None:
    costly = DINNER | {"amount": {"amount": "200", "currency": "CNY"}, "reason": "招待客户"}
    claim = await submitted(client, costly)
    assert claim["lines"][0]["findings"][0]["reason"] == "招待客户"
    async with database.transaction() as tx:
        payload = await tx.fetchval("SELECT convert_from(payload, 'UTF8')::jsonb FROM outbox")
    assert '"rule_id": "meal.standard"' in payload
    assert "招待客户" in payload


async def test_withdrawn_claim_is_edited_and_handed_in_again_as_the_next_revision(client) -> None:
    claim = await submitted(client)
    path = f"/api/claims/{claim['id']}"
    withdrawn = (await client.post(f"{path}/withdraw")).json()
    assert (withdrawn["status"], withdrawn["moves"]) == ("withdrawn", ["edit", "submit"])
    version = withdrawn["version"]
    assert (await client.put(path, json=a_draft(DINNER, DINNER) | {"version": version})).is_success
    again = (await submit(client, claim, key="k-2")).json()
    assert (again["status"], again["revision"]) == ("submitted", 2)
    assert again["content_hash"] != claim["content_hash"]


async def test_submitted_claim_can_not_be_edited(client) -> None:
    claim = await submitted(client)
    edit = a_draft() | {"version": claim["version"]}
    answer = await client.put(f"/api/claims/{claim['id']}", json=edit)
    assert answer.status_code == 409
    assert "edit" in answer.json()["detail"]


async def test_finance_without_the_role_of_an_employee_hands_nothing_in(client, finance) -> None:
    answer = await client.post("/api/claims", json=a_draft(), headers=finance)
    assert answer.status_code == 403


async def test_limits_are_there_to_be_read(client) -> None:
    items = (await client.get("/api/policy/limits")).json()["items"]
    hotel = next(item for item in items if item["id"] == "hotel.standard.shanghai")
    assert hotel["limit"] == {"amount": "600.00", "currency": "CNY"}


async def test_payment_is_listed_settled_once_and_the_claim_is_paid(
    client, database, finance
) -> None:
    claim = await approved(client, database, finance)
    assert claim["status"] == "paying"
    page = (await client.get("/api/payments?status=requested", headers=finance)).json()
    assert page["items"] == [claim["payment"]]
    settled = await settle(client, finance, claim)
    assert settled.status_code == 200, settled.text
    assert settled.json()["closed_by"] == "finance-system"
    paid = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert (paid["status"], paid["payment"]["receipt"]) == ("paid", "R-1")
    assert (await facts(database))[-2:] == ["payment.requested.v1", "payment.settled.v1"]


async def settle(client, headers, claim, *, key="s-1", receipt="R-1", amount="120.50"):
    return await client.post(
        f"/api/payments/{claim['payment']['id']}/settle",
        json={"receipt": receipt, "amount": {"amount": amount, "currency": "CNY"}},
        headers=headers | {"idempotency-key": key},
    )


async def test_second_settle_is_answered_by_its_receipt(client, database, finance) -> None:
    claim = await approved(client, database, finance)
    first = await settle(client, finance, claim)
    same_key = await settle(client, finance, claim)
    same_receipt = await settle(client, finance, claim, key="s-2")
    other_receipt = await settle(client, finance, claim, key="s-3", receipt="R-2")
    assert first.json() == same_key.json() == same_receipt.json()
    assert other_receipt.status_code == 409
    assert other_receipt.json()["receipt"] == "R-1"
    assert (await facts(database)).count("payment.settled.v1") == 1


async def test_settle_of_another_amount_is_answered_422_with_both(
    client, database, finance
) -> None:
    claim = await approved(client, database, finance)
    answer = await settle(client, finance, claim, amount="120.51")
    assert answer.status_code == 422
    assert (answer.json()["paid"], answer.json()["approved"]) == ("120.51 CNY", "120.50 CNY")


async def test_payments_are_for_finance_alone(client, database, finance) -> None:
    claim = await approved(client, database, finance)
    assert (await settle(client, {}, claim)).status_code == 403
    assert (await client.get("/api/payments")).status_code == 403


@pytest.mark.parametrize("id_", ["0" * 32, "x", "%00"])
async def test_unknown_payment_is_answered_404(client, finance, id_: str) -> None:
    for act, body in (("fail", {"reason": "x"}), ("retry", None)):
        answer = await client.post(f"/api/payments/{id_}/{act}", json=body, headers=finance)
        assert answer.status_code == 404


async def test_failed_payment_is_asked_for_again_and_then_paid(client, database, finance) -> None:
    claim = await approved(client, database, finance)
    path = f"/api/payments/{claim['payment']['id']}"
    failed = await client.post(f"{path}/fail", json={"reason": "账户已注销"}, headers=finance)
    assert failed.json()["failure"] == "账户已注销"
    assert (await client.get(f"/api/claims/{claim['id']}")).json()["status"] == "failed"
    assert (await settle(client, finance, claim)).status_code == 409
    again = await client.post(f"{path}/retry", headers=finance)
    assert again.json()["attempt"] == 2
    assert (await client.post(f"{path}/retry", headers=finance)).status_code == 409
    claim = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert claim["payment"] == again.json()
    assert (await settle(client, finance, claim, key="s-9")).status_code == 200


async def test_payment_of_an_approval_taken_back_is_not_settled_and_the_claim_is_handed_in_anew(
    client, database, finance
) -> None:
    claim = await approved(client, database, finance)
    await take_back(database, claim)
    await take_back(database, claim)  # told again: nothing more follows
    path = f"/api/payments/{claim['payment']['id']}/settle"
    paid = {"receipt": "R-1", "amount": claim["total"]}
    answer = await client.post(path, json=paid, headers=finance | {"idempotency-key": "s-1"})
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:tonglu:problem:payment-stopped",
    )
    assert "重复报销" in answer.json()["detail"]
    assert "recover" in answer.json()["detail"]
    revoked = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert (revoked["status"], revoked["payment"]["status"]) == ("revoked", "stopped")
    assert revoked["moves"] == ["edit", "submit"]
    assert (await facts(database))[-2:] == ["claim.approval-revoked.v1", "payment.stopped.v1"]
    again = (await submit(client, claim, key="k-2")).json()
    await decide(database, again)
    whole = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert (whole["status"], whole["payment"]["attempt"]) == ("paying", 2)
    assert whole["payment"]["id"] != claim["payment"]["id"]


async def test_approval_taken_back_after_the_payment_tells_what_is_to_be_recovered(
    client, database, finance
) -> None:
    claim = await approved(client, database, finance)
    path = f"/api/payments/{claim['payment']['id']}/settle"
    paid = {"receipt": "R-1", "amount": claim["total"]}
    await client.post(path, json=paid, headers=finance | {"idempotency-key": "s-1"})
    await take_back(database, claim)
    whole = (await client.get(f"/api/claims/{claim['id']}")).json()
    assert (whole["status"], whole["payment"]["status"]) == ("recovering", "settled")
    assert whole["moves"] == []
    async with database.transaction() as tx:
        told = await tx.fetchval("SELECT payload FROM outbox ORDER BY seq DESC LIMIT 1")
    assert json.loads(told)["to_recover"] == claim["total"]


CHOICE = {"step": "expert", "approvers": ["E7", "E8"]}


async def test_cost_centre_and_chosen_approvers_travel_with_the_claim(client, database) -> None:
    chosen = [CHOICE]
    sent = a_draft() | {"cost_centre": "CC-100", "chosen_approvers": chosen}
    claim = (await client.post("/api/claims", json=sent)).json()
    assert (claim["cost_centre"], claim["chosen_approvers"]) == ("CC-100", chosen)
    now = [{"step": "expert", "approvers": ["E9"]}]
    handed_in = (await submit(client, claim, chosen_approvers=now)).json()
    assert handed_in["chosen_approvers"] == now
    async with database.transaction() as tx:
        fact = json.loads(await tx.fetchval("SELECT payload FROM outbox"))
    assert (fact["cost_centre"], fact["chosen_approvers"]) == ("CC-100", now)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"cost_centre": ""}, "/cost_centre"),
        ({"cost_centre": "x" * 65}, "/cost_centre"),
        (
            {"chosen_approvers": [{"step": "expert", "approvers": []}]},
            "/chosen_approvers/0/approvers",
        ),
        (
            {"chosen_approvers": [{"step": "expert", "approvers": ["a b"]}]},
            "/chosen_approvers/0/approvers/0",
        ),
    ],
)
async def test_bad_cost_centre_or_choice_is_answered_422_with_its_field(
    client, changed, field
) -> None:
    answer = await client.post("/api/claims", json=a_draft() | changed)
    assert answer.status_code == 422
    assert field in answer.text
