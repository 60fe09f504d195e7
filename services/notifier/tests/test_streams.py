"""The Faust view on a real Kafka: equal to the same fold in SQL, and again after a rebuild."""

import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from chassis import Received
from events import Envelope, Event, EventId, Money, topic_specs
from events.claims import (
    CLAIM,
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    ClaimWithdrawn,
    PaymentFailed,
    PaymentRequested,
    PaymentSettled,
    PaymentStopped,
)
from events.workflow import APPROVAL, ApprovalRequested, ApprovalTaskAssigned, ApprovalTaskDecided
from local_stack.room import Topic
from local_stack.topics import create_topics
from notifier import handlers, store
from notifier.streams import Fold, Worker
from uuid_utils.compat import uuid7

START = datetime.fromisoformat("2026-11-24T08:00:00+00:00")
HASH = "0" * 64
CNY = Money(amount="10.00", currency="CNY")
PAYMENT = {"payment_id": "P1", "payee_id": "E1001", "amount": CNY}


def walk(claim: str, dice: random.Random) -> Iterable[Event]:
    """One claim's road as far as it has come: perhaps sent back, refused, paid at last."""
    of = {"claim_id": claim, "employee_id": "E1001"}
    for revision in range(1, dice.randint(1, 3) + 1):
        mine = {**of, "revision": revision}
        yield ClaimSubmitted(
            **mine, title="差旅", lines=(), total=CNY, content_hash=HASH, submitted_at=START
        )
        if dice.random() < 0.15:
            yield ClaimWithdrawn(**mine, withdrawn_at=START)
            return
        asked = {"document_id": claim, "revision": revision}
        if dice.random() < 0.1:
            return
        yield ApprovalRequested(
            **asked, document_kind="claim", definition="d@1", mode="native", submitter_id="E1001",
            title="差旅", total=CNY, route=(), content_hash=HASH, requested_at=START,
        )  # fmt: skip
        for step in range(1, dice.randint(0, 2) + 1):
            task = {**asked, "task_id": f"T{step}", "step": step}
            yield ApprovalTaskAssigned(
                **task, step_name="上级", assignee_id="E1002", assigned_at=START
            )
            yield ApprovalTaskDecided(
                **task, decision="approve", decided_by="E1002", via="tonglu", content_hash=HASH,
                decided_at=START,
            )  # fmt: skip
        if dice.random() < 0.4:
            yield ClaimReturned(**mine, returned_at=START)
            continue
        if dice.random() < 0.2:
            yield ClaimRejected(**mine, rejected_at=START)
            return
        if dice.random() < 0.2:
            return
        yield ClaimApproved(**mine, content_hash=HASH, approved_at=START)
        yield from paying(claim, mine, dice)
        return


def paying(claim: str, mine: dict[str, object], dice: random.Random) -> Iterable[Event]:
    """Paid at last, or the approval taken back, or still on the way."""
    payment = {"claim_id": claim, **PAYMENT}
    yield PaymentRequested(revision=mine["revision"], **payment, requested_at=START)
    if dice.random() < 0.3:
        yield PaymentFailed(**payment, reason="账号有误", failed_at=START)
    if dice.random() < 0.7:
        yield PaymentSettled(**payment, receipt="R-1", settled_at=START)
    elif dice.random() < 0.5:
        yield PaymentStopped(**payment, reason="批准被撤销", stopped_at=START)
        yield ClaimApprovalRevoked(**mine, reason="批准被撤销", revoked_at=START)


def histories(prefix: str, claims: int) -> list[Envelope[Event]]:
    """Many roads, shuffled into each other, each key of each topic in its own order."""
    dice = random.Random(2026)
    roads = [list(walk(f"{prefix}-{n}", dice)) for n in range(claims)]
    turns = [road for road in roads for _ in road]
    dice.shuffle(turns)
    sequences: dict[tuple[str, str], int] = {}
    envelopes = []
    for second, road in enumerate(turns):
        event = road.pop(0)
        place = (event.TOPIC.name, event.key)
        sequences[place] = sequences.get(place, 0) + 1
        at = START + timedelta(seconds=second)
        envelopes.append(Envelope(EventId(uuid7()), at, sequences[place], event.key, event))
    return envelopes


@pytest.fixture
async def servers(kafka) -> str:
    specs = [spec for spec in topic_specs() if spec.name in {CLAIM.name, APPROVAL.name}]
    wanted = [Topic(spec.name, spec.partitions, spec.config) for spec in specs]
    await create_topics(kafka.bootstrap_servers, wanted)
    return kafka.bootstrap_servers


async def publish(servers: str, envelopes: Iterable[Envelope[Event]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
        sent = []
        for envelope in envelopes:
            headers = [(name, value.encode()) for name, value in envelope.headers().items()]
            topic, key = envelope.event.TOPIC.name, envelope.event.key.encode()
            sent.append(await producer.send(topic, envelope.value(), key=key, headers=headers))
        await asyncio.gather(*sent)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def viewing(servers: str, database, generation: int, status: int = 0) -> AsyncIterator[int]:
    """`python -m notifier view`, ended by SIGTERM; its probes' port."""
    port = free_port()
    settings = {
        "POSTGRES_DSN": database.pool._connect_args[0],
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_SESSION_SECONDS": "10",
        "OIDC_ISSUER": "http://issuer.test",
        "PIPELINE_GENERATION": str(generation),
        "HTTP_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", "view", env={**os.environ, **settings}
    )
    try:
        yield port
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == status
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_view_equals_the_fold_in_sql_also_after_a_rebuild(
    servers, database, eventually
) -> None:
    prefix, generation = f"C{uuid7().hex[-8:]}", random.randint(10**6, 10**9)
    envelopes = histories(prefix, claims=60)
    assert len(envelopes) > 300
    unreadable = Envelope(EventId(uuid7()), START, 1, "x", envelopes[0].event)

    async def folded(generation: int) -> store.Pipeline:
        async with database.transaction() as tx:
            view = await store.pipeline_from_view(tx, generation)
        return {claim: at for claim, at in view.items() if claim.startswith(prefix)}

    async with database.transaction() as tx:
        received = [Received(it.event.TOPIC.name, 0, 0, it) for it in envelopes]
        await handlers.on_pipeline_events(tx, received)
        await handlers.on_pipeline_events(tx, received)
        expected = await store.pipeline_from_facts(tx)
    assert len({stage for stage, _ in expected.values()}) == 8

    async with viewing(servers, database, generation) as port:
        await publish(servers, envelopes[:200])
        await publish(servers, envelopes[150:200])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def ready() -> int:
                try:
                    return (await http.get("/healthz/ready")).status_code
                except httpx.TransportError:
                    return 0

            await eventually(ready, lambda status: status == 200, seconds=60)
            assert (await http.get("/stats/")).status_code == 404
        await publish(servers, [unreadable])
        await publish(servers, envelopes[200:])
        await eventually(lambda: folded(generation), lambda found: found == expected, seconds=60)

    async with viewing(servers, database, generation + 1):
        await eventually(
            lambda: folded(generation + 1), lambda found: found == expected, seconds=60
        )
    assert await folded(generation) == {}


def message(envelope: Envelope[Event]) -> SimpleNamespace:
    headers = {name: value.encode() for name, value in envelope.headers().items()}
    return SimpleNamespace(headers=headers, value=envelope.value())


async def test_message_in_hand_is_folded_even_when_its_agent_is_cancelled(database) -> None:
    first = histories("C", claims=1)[0]
    fold = Fold(database.pool._connect_args[0], 1)
    agent = asyncio.ensure_future(fold.settle(message(first)))
    await asyncio.sleep(0)
    agent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await agent
    await fold.close()
    async with database.transaction() as tx:
        assert list(await store.pipeline_from_view(tx, 1)) == ["C-0"]


_CANCELLED_WHILE_AWAY = """
import asyncio
from notifier import streams
async def main():
    streams._LAST_CHANCE_SECONDS = 0.2
    fold = streams.Fold("postgresql://127.0.0.1:1/away", 1)
    async def fails(message): raise OSError("away")
    fold._fold = fails
    agent = asyncio.ensure_future(fold.settle(None))
    await asyncio.sleep(0)
    agent.cancel()
    await agent
asyncio.run(main())
"""


async def test_cancelled_while_the_database_is_away_ends_the_process_uncommitted() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CANCELLED_WHILE_AWAY, stderr=asyncio.subprocess.DEVNULL
    )
    assert await asyncio.wait_for(process.wait(), 60) == 1


def test_view_keeps_to_what_faust_does_safely() -> None:
    app = Worker(Fold("postgresql://unused", 7), "127.0.0.1:9", 30.0, "127.0.0.1", 1).app()
    (agent,) = app.agents.values()
    assert agent.concurrency == 1
    assert set(agent.channel.topics) == {CLAIM.name, APPROVAL.name}
    assert {CLAIM.cleanup, APPROVAL.cleanup} == {"delete"}
    assert not app.tables
    assert app.conf.id == "notifier-pipeline-7"
    assert app.conf.processing_guarantee.value == "at_least_once"
    assert app.conf.consumer_auto_offset_reset == "earliest"
    assert app.conf.datadir.parent == Path(tempfile.gettempdir())
