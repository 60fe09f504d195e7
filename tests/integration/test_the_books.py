"""After all journeys and faults: databases, topics, the OA and the ledger agree on each claim.

The last file of the folder by its name, since it judges what all others have left behind.
"""

from collections import defaultdict
from decimal import Decimal

from aiokafka import ConsumerRecord
from claims.claim.domain import Status
from tonglu import topology
from town import Town

HAS_PAYMENT = {Status.PAYING, Status.PAID, Status.RECOVERING}
ENDED = {"failed", "stopped"}
IS_PAID = {Status.PAID, Status.RECOVERING}


async def test_every_outbox_is_published_and_nothing_is_parked(town: Town) -> None:
    await town.is_quiet()
    on_kafka = {_said(record, "ce_id") for record in await town.records()}
    for service in topology.SERVICES:
        emitted = await town.sql(service, "SELECT event_id FROM outbox")
        assert {str(row["event_id"]) for row in emitted} <= on_kafka, service
        assert await town.sql(service, "SELECT * FROM outbox_parked") == [], service
        assert await town.sql(service, "SELECT * FROM inbox_parked") == [], service


async def test_every_event_on_kafka_was_emitted_and_each_key_counts_from_one_without_a_gap(
    town: Town,
) -> None:
    emitted = {
        str(row["event_id"])
        for service in topology.SERVICES
        for row in await town.sql(service, "SELECT event_id FROM outbox")
    }
    versions: dict[tuple[str, bytes], list[int]] = defaultdict(list)
    for record in await town.records():
        if ".dlq." in record.topic or _said(record, "ce_id") not in emitted:
            continue  # copies for the eye, and what the tests themselves have put there
        version = int(_said(record, "ce_sequence"))
        if version not in versions[record.topic, record.key]:
            versions[record.topic, record.key].append(version)
    for key, found in versions.items():
        assert found == list(range(1, len(found) + 1)), key


async def test_every_claim_is_where_its_money_is(town: Town) -> None:
    claims = await town.sql("claims", "SELECT id, status, total FROM claim")
    payments = await town.sql("claims", "SELECT * FROM payment")
    live = {row["claim_id"]: row for row in payments if row["status"] not in ENDED}
    settled = {row["id"]: row["amount"] for row in payments if row["status"] == "settled"}
    for claim in claims:
        status, payment = Status(claim["status"]), live.get(claim["id"])
        assert (payment is not None) == (status in HAS_PAYMENT), claim["id"]
        if status in IS_PAID:
            assert payment is not None
            assert (payment["status"], payment["amount"]) == ("settled", claim["total"])
    booked = {row["payment_id"]: Decimal(row["amount"]) for row in town.ledger() if row["settled"]}
    assert booked == settled
    assert sum(booked.values()) == sum(settled.values())


async def test_no_claim_was_settled_twice(town: Town) -> None:
    settled: dict[str, set[str]] = defaultdict(set)
    for record in await town.records():
        if _said(record, "ce_type") == "payment.settled.v1":
            settled[record.key.decode()].add(_said(record, "ce_id"))
    assert {claim: ids for claim, ids in settled.items() if len(ids) > 1} == {}
    paid = await town.sql("claims", "SELECT id FROM claim WHERE status = ANY ($1)", IS_PAID)
    assert settled.keys() == {row["id"] for row in paid}


async def test_every_claim_that_waits_for_a_decision_has_one_approval_and_one_process(
    town: Town,
) -> None:
    waiting = await town.sql("claims", "SELECT id, revision FROM claim WHERE status = 'submitted'")
    asked = await town.sql(
        "workflow", "SELECT document_id, revision FROM approval WHERE status = 'open'"
    )
    sent = await town.sql(
        "oa-connector", "SELECT document_id, revision FROM submission WHERE state = 'SUBMITTED'"
    )
    expected = {tuple(row) for row in waiting}
    assert {tuple(row) for row in asked} == expected
    assert {tuple(row) for row in sent} == expected


def _said(record: ConsumerRecord, header: str) -> str:
    return dict(record.headers).get(header, b"").decode()
