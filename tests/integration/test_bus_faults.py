"""What lies on a topic and should not: duplicates, poison, types of another release."""

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from events import topic_specs
from tonglu.reading import Range, bounds, partitions, reader, records
from town import EMPLOYEE, MACHINE, Town, eventually

CLAIMS, PARKED = "claims.claim.v1", "/admin/parked"
READERS = ("claims", "notifier", "workflow")


async def test_every_event_of_a_road_delivered_again_has_no_second_effect(town: Town) -> None:
    claim_id = await town.submitted()
    await town.approve(claim_id)
    claim = await town.becomes(claim_id, "paid")
    await town.is_quiet()
    before = await town.hops(claim_id)
    seen = await _counted(town, "duplicate")

    again = [record for record in await town.records() if _is_of(record, claim_id)]
    assert len(again) == len(before)
    await _produce(town, again)
    await town.is_quiet()

    assert await _counted(town, "duplicate") > seen
    assert len(await town.hops(claim_id)) == 2 * len(before)
    assert len(town.ledger(claim["payment"]["id"])) == 1
    assert len(await town.oa_processes(claim_id)) == 1
    paid = await town.sql("claims", "SELECT id FROM payment WHERE claim_id = $1", claim_id)
    assert len(paid) == 1
    told = await town.get(EMPLOYEE, "notifier", "/api/notices?limit=200")
    mine = [one["template"] for one in told["notices"] if one["document_id"] == claim_id]
    assert sorted(mine) == ["claim_approved", "payment_settled"]


async def test_poison_parks_its_key_while_others_flow_and_is_redriven_in_order(
    town: Town,
) -> None:
    key = str(uuid.uuid4())
    poison = _headers("claim.submitted.v1", key, 1)
    behind = _headers("claim.withdrawn.v1", key, 2)
    withdrawn = {
        "claim_id": key,
        "employee_id": EMPLOYEE,
        "revision": 1,
        "withdrawn_at": "2026-11-24T08:00:00Z",
    }
    await _send(town, CLAIMS, key, poison, b"{not JSON")
    await _send(town, CLAIMS, key, behind, json.dumps(withdrawn).encode())

    for reader_ in READERS:
        parked = await eventually(
            lambda reader_=reader_: _parked(town, reader_, key), until=lambda found: len(found) == 2
        )
        assert [event["type"] for event in parked] == ["claim.submitted.v1", "claim.withdrawn.v1"]
    await town.arrived([await town.submitted()])  # others flow
    await _copied(town, f"{CLAIMS}.dlq.workflow", key)

    assert key in _dlq(town, "ls", "workflow", expect=3)
    assert "claim.submitted.v1" in _dlq(town, "show", "workflow", CLAIMS, key)
    _dlq(town, "redrive", "workflow", CLAIMS, key, expect=None)
    assert len(await _parked(town, "workflow", key)) == 2, "the first still cannot be read"

    for reader_ in READERS:
        first = (await _parked(town, reader_, key))[0]
        about = {"topic": CLAIMS, "key": key}
        discarded = await town.ask(
            *(MACHINE, reader_, "POST", f"{PARKED}/discard"),
            json=about | {"event_id": first["event_id"]},
        )
        assert discarded.status_code == 200, discarded.text
        redriven = await town.ask(MACHINE, reader_, "POST", f"{PARKED}/redrive", json=about)
        assert redriven.json() == {"applied": 1, "left": 0, "stopped_by": None}


async def test_an_event_of_an_unknown_type_is_skipped_and_counted(town: Town) -> None:
    seen = await _counted(town, "unknown", CLAIMS)
    key = str(uuid.uuid4())
    await _send(town, CLAIMS, key, _headers("claim.audited.v9", key, 1), b'{"of": "tomorrow"}')

    async def counted() -> float:
        return await _counted(town, "unknown", CLAIMS) - seen

    await eventually(counted, until=lambda more: more == 1)
    assert await _parked(town, "workflow", key) == []
    await town.arrived([await town.submitted()])


async def _counted(town: Town, outcome: str, topic: str = "") -> float:
    labels = {"outcome": outcome} | ({"topic": topic} if topic else {})
    return await town.counted("workflow", "tonglu_events_total", **labels)


async def _parked(town: Town, service: str, key: str) -> list[dict[str, Any]]:
    path = f"{PARKED}/events?topic={CLAIMS}&key={key}"
    answer = await town.insist(MACHINE, service, "GET", path)
    return [] if answer.status_code == 404 else list(answer.json()["items"])


def _is_of(record: ConsumerRecord, claim_id: str) -> bool:
    return ("ce_correlationid", claim_id.encode()) in record.headers


def _headers(type_: str, key: str, sequence: int) -> list[tuple[str, bytes]]:
    said = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid.uuid4()),
        "ce_source": "/claims",
        "ce_type": type_,
        "ce_subject": key,
        "ce_time": datetime.now(UTC).isoformat(),
        "ce_sequence": str(sequence),
        "ce_correlationid": key,
    }
    return [(name, text.encode()) for name, text in said.items()]


async def _send(
    town: Town, topic: str, key: str, headers: list[tuple[str, bytes]], value: bytes
) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=town.provides["KAFKA_BOOTSTRAP_SERVERS"]
    ) as producer:
        await producer.send_and_wait(topic, value, key=key.encode(), headers=headers)


async def _produce(town: Town, again: list[ConsumerRecord]) -> None:
    """Byte for byte, onto the partition that each came from."""
    async with AIOKafkaProducer(
        bootstrap_servers=town.provides["KAFKA_BOOTSTRAP_SERVERS"]
    ) as producer:
        for record in again:
            place = {"partition": record.partition, "headers": list(record.headers)}
            await producer.send_and_wait(record.topic, record.value, key=record.key, **place)


async def _copied(town: Town, topic: str, key: str) -> None:
    """The dead letters of this key, with what they say of their way."""

    async def letters() -> list[dict[str, bytes]]:
        async with reader(town.provides["KAFKA_BOOTSTRAP_SERVERS"]) as consumer:
            places = await partitions(consumer, topic)
            ends = await bounds(consumer, places, Range())
            found = [one async for batch in records(consumer, ends) for one in batch]
        return [dict(one.headers) for one in found if one.key == key.encode()]

    if topic not in {spec.name for spec in topic_specs()}:
        pytest.fail(f"the contracts declare no {topic}")
    copies = await eventually(letters, until=lambda found: len(found) == 2)
    assert copies[0]["dlq.group"] == b"workflow"
    assert copies[0]["dlq.topic"] == CLAIMS.encode()
    assert copies[0]["dlq.error"] == b"Malformed"


def _dlq(town: Town, *words: str, expect: int | None = 0) -> str:
    """What `tonglu dlq` prints; its exit code must be this one, None: any."""
    services = {
        f"{name.replace('-', '_').upper()}_URL": f"http://127.0.0.1:{town.stack.port(name)}"
        for name in ("claims", "workflow", "notifier", "oa-connector", "directory-sync")
    }
    env = services | {
        "OIDC_ISSUER": town.provides["OIDC_ISSUER"],
        "CLIENT_SECRET": town.people.secrets.clients[MACHINE],
        "COLUMNS": "300",
    }
    tonglu = Path(sys.executable).with_name("tonglu")
    done = subprocess.run(
        [tonglu, "dlq", *words], env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return done.stdout
