"""Journeys: claims on the roads that people take them, on all real parts."""

from decimal import Decimal
from typing import Any

from events import Envelope
from tonglu import demo
from tonglu.road import EXPECTED
from town import EMPLOYEE, FINANCE, MACHINE, MANAGER, STRANGER, Town, eventually

TOTAL = Decimal("1119.50")


async def test_a_claim_is_approved_in_the_oa_and_paid_once_and_everyone_is_told(
    town: Town,
) -> None:
    claim_id = await town.submitted()
    for person in (MANAGER, FINANCE):
        await _is_told(town, person, claim_id, {"approval_task"})
        await town.decide(claim_id, person, "approve")
    claim = await town.becomes(claim_id, "paid")
    assert Decimal(claim["payment"]["amount"]["amount"]) == TOTAL
    await _is_told(town, EMPLOYEE, claim_id, {"claim_approved", "payment_settled"})
    assert [Decimal(row["amount"]) for row in town.ledger(claim["payment"]["id"])] == [TOTAL]
    assert len(await town.oa_processes(claim_id)) == 1


async def test_the_timeline_lists_every_event_of_the_road_with_its_place_on_its_topic(
    town: Town,
) -> None:
    claim_id = await town.submitted()
    await town.approve(claim_id)
    await town.paid(claim_id)
    await _is_told(town, EMPLOYEE, claim_id, {"claim_approved", "payment_settled"})

    hops = await eventually(
        lambda: town.hops(claim_id),
        until=lambda found: {type(hop.envelope.event) for hop in found} >= set(EXPECTED),
    )
    _assert_each_follows_its_cause([hop.envelope for hop in hops])
    timeline = await eventually(
        lambda: town.get(EMPLOYEE, "claims", f"/api/claims/{claim_id}/timeline"),
        until=lambda found: len(found["items"]) >= len(hops),
    )
    places = {(item["topic"], item["partition"], item["offset"]) for item in timeline["items"]}
    assert places >= {(hop.topic, hop.partition, hop.offset) for hop in hops}


async def test_a_claim_returned_in_the_oa_is_edited_resubmitted_and_paid(town: Town) -> None:
    claim_id = await town.submitted()
    await town.decide(claim_id, MANAGER, "return", "请补充城市")
    returned = await town.becomes(claim_id, "returned")
    await _is_told(town, EMPLOYEE, claim_id, {"claim_returned"})

    edited = demo.CLAIM | {"title": "改过的 / Edited", "version": returned["version"]}
    answer = await town.ask(EMPLOYEE, "claims", "PUT", f"/api/claims/{claim_id}", json=edited)
    assert answer.status_code == 200, answer.text
    resubmitted = (await town.submit(claim_id)).json()
    assert resubmitted["revision"] == 2
    assert resubmitted["content_hash"] != returned["content_hash"]

    await town.approve(claim_id)
    await town.paid(claim_id)
    processes = await town.oa_processes(claim_id)
    assert len({one["businessKey"] for one in processes}) == 2


async def test_a_rejected_claim_ends_and_nothing_is_paid(town: Town) -> None:
    claim_id = await town.submitted()
    await town.decide(claim_id, MANAGER, "reject", "行程与工作无关")
    claim = await town.becomes(claim_id, "rejected")
    assert claim["payment"] is None
    await _is_told(town, EMPLOYEE, claim_id, {"claim_rejected"})
    assert (await town.submit(claim_id)).status_code == 409


async def test_a_withdrawn_claim_is_cancelled_in_the_oa(town: Town) -> None:
    claim_id = await town.submitted()
    await town.arrived([claim_id])
    answer = await town.ask(EMPLOYEE, "claims", "POST", f"/api/claims/{claim_id}/withdraw")
    assert answer.json()["status"] == "withdrawn"
    ended = await eventually(
        lambda: town.oa_processes(claim_id), until=lambda found: found[0]["endTime"] is not None
    )
    assert [one["deleteReason"] is not None for one in ended] == [True]
    approval = await town.get(EMPLOYEE, "workflow", f"/api/approvals/{claim_id}")
    assert approval["status"] == "cancelled"


async def test_a_payment_that_failed_is_asked_for_again_and_settled_once(town: Town) -> None:
    await town.stop("finance-subscriber")
    claim_id = await town.submitted()
    await town.approve(claim_id)
    failed = (await town.becomes(claim_id, "paying"))["payment"]["id"]
    await _pay(town, failed, "fail", json={"reason": "账户已注销"})
    await town.becomes(claim_id, "failed")
    await _is_told(town, EMPLOYEE, claim_id, {"claim_approved", "payment_failed"})
    await _pay(town, failed, "retry")

    await town.run("finance-subscriber")
    claim = await town.becomes(claim_id, "paid")
    assert claim["payment"]["attempt"] == 2
    assert [row["settled"] for row in town.ledger(claim["payment"]["id"])] == [1]
    assert [row["settled"] for row in town.ledger(failed)] != [1]


async def test_a_claim_is_decided_in_tonglu_where_the_definition_says_native(town: Town) -> None:
    await town.approves("native")
    try:
        claim_id = await town.submitted()
        for person in (MANAGER, FINANCE):
            task = await eventually(lambda person=person: town.task(person, claim_id))
            decided = await town.decide_here(person, task)
            assert decided.status_code == 200, decided.text
        await town.paid(claim_id)
        assert await town.oa_processes(claim_id) == []
    finally:
        await town.approves("delegated")


async def test_a_stranger_finds_nothing_of_a_claim_anywhere(town: Town) -> None:
    claim_id = await town.submitted()
    await eventually(lambda: town.task(MANAGER, claim_id))
    for service, method, path in (
        ("claims", "GET", f"/api/claims/{claim_id}"),
        ("claims", "GET", f"/api/claims/{claim_id}/timeline"),
        ("claims", "PUT", f"/api/claims/{claim_id}"),
        ("claims", "POST", f"/api/claims/{claim_id}/submit"),
        ("claims", "POST", f"/api/claims/{claim_id}/withdraw"),
        ("workflow", "GET", f"/api/approvals/{claim_id}"),
    ):
        body = demo.CLAIM | {"version": 1} if method == "PUT" else None
        answer = await town.ask(
            *(STRANGER, service, method, path), json=body, headers={"idempotency-key": "a stranger"}
        )
        assert (answer.status_code, path) == (404, path)
    assert await town.task(STRANGER, claim_id) is None


async def test_the_pipeline_shows_what_is_paid(town: Town) -> None:
    rows = await town.sql("claims", "SELECT count(*) AS n FROM claim WHERE status = 'paid'")

    async def paid() -> int:
        pipeline = await town.get(MACHINE, "notifier", "/api/pipeline")
        return next(one["claims"] for one in pipeline["stages"] if one["stage"] == "paid")

    await eventually(paid, until=lambda claims: claims == rows[0]["n"])


async def _is_told(town: Town, person: str, claim_id: str, templates: set[str]) -> None:
    async def told() -> set[str]:
        page = await town.get(person, "notifier", "/api/notices?limit=200")
        return {one["template"] for one in page["notices"] if one["document_id"] == claim_id}

    await eventually(told, until=lambda found: found == templates)


async def _pay(town: Town, payment_id: str, what: str, **options: Any) -> None:
    answer = await town.ask(
        MACHINE, "claims", "POST", f"/api/payments/{payment_id}/{what}", **options
    )
    assert answer.status_code == 200, answer.text


def _assert_each_follows_its_cause(envelopes: list[Envelope[Any]]) -> None:
    """Only what people and other systems ask for by HTTP has no event before it."""
    times = {envelope.id: envelope.time for envelope in envelopes}
    first = {envelope.event.TYPE for envelope in envelopes if envelope.causation_id is None}
    assert first == {"claim.submitted.v1", "payment.settled.v1"}
    for envelope in envelopes:
        if envelope.causation_id is not None:
            assert times[envelope.causation_id] <= envelope.time
