"""Workflow alone: hand-ins that become tasks, beside the inbox path; decisions, beside pgbench."""

import json
from collections.abc import Sequence
from uuid import uuid4

import asyncpg
import raw
from chassis.db import Database
from chassis.settings import ServiceSettings
from chassis.subscriptions import Received
from chassis.testing import Issuer
from drafts import CONNECTIONS, EMPLOYEE, load, pgbench
from events import Envelope, EventId
from events.claims import CLAIM, ClaimSubmitted
from facts import AT, HASH, key, record, submitted
from harness import ROUNDS, Figure, interleave
from inbox import TABLE, consume
from inbox import record as record_event
from load import request
from processes import cpu_seconds, issuer, migrations, service
from servers import FOLDER, Servers
from workflow.approval.handlers import on_claims
from workflow.definition.domain import parse_definition
from workflow.definition.handlers import import_definitions

CLAIMS = 10_000
DECISIONS = 2_000
MANAGER = "M1"
DEFINITION = """
id: bench
version: 1
name: {zh: 压测, en: Benchmark}
kind: claim
mode: native
steps:
  - name: 直属上级
    approver: {rule: line_manager}
"""
_PEOPLE = """
INSERT INTO employee (employee_id, department_id, manager_id, roles, is_active)
VALUES ($1, 'D1', $2, '{}', true), ($2, 'D1', NULL, '{admin}', true)
"""
_EMPTY = "TRUNCATE inbox, inbox_position, effect, outbox, outbox_head, approval, task CASCADE"
# The rows that one decision of the only step writes. Each client counts through its own tasks.
_DECIDE = r"""\set n :n + 1
BEGIN;
INSERT INTO idempotency (principal, route, key, request_hash, status, response)
VALUES ('{manager}', format('POST /api/tasks/%s-%s/decide', :client_id::int, :n::int),
        gen_random_uuid()::text, '{request_hash}', 200, '{response}');
UPDATE approval SET status = 'approved'
 WHERE document_id = format('{batch}-%s-%s', :client_id::int, :n::int) AND revision = 1;
UPDATE task SET status = 'decided', decision = 'approve', decided_by = '{manager}',
       via = 'tonglu', content_hash = '{content_hash}', decided_at = now(), closed_at = now()
 WHERE document_id = format('{batch}-%s-%s', :client_id::int, :n::int);
INSERT INTO outbox_head AS h (topic, key, version)
VALUES ('{topic}', format('{batch}-%s-%s', :client_id::int, :n::int), {facts_count})
ON CONFLICT (topic, key) DO UPDATE SET version = h.version + {facts_count};
{facts}COMMIT;
"""
_FACT = r"""INSERT INTO outbox (event_id, topic, key, version, type, headers, payload)
VALUES (gen_random_uuid(), '{topic}', format('{batch}-%s-%s', :client_id::int, :n::int),
        {version}, '{type}', '{headers}', '{payload}');
"""


async def measure(at: Servers) -> tuple[list[Figure], dict[str, str]]:
    asking, said = await _asking(at)
    deciding, more = await _deciding(at)
    return [asking, deciding], said | more


def definitions_folder() -> str:
    """Where a service finds the one definition."""
    folder = FOLDER / "definitions"
    folder.mkdir(exist_ok=True)
    (folder / "bench.yaml").write_text(DEFINITION)
    return str(folder)


async def staff(database: Database) -> None:
    """One employee, the manager above, and the definition that asks the manager."""
    await database.pool.execute(_PEOPLE, EMPLOYEE, MANAGER)
    async with database.transaction() as tx:
        await import_definitions(tx, [parse_definition(DEFINITION)])


async def _asking(at: Servers) -> tuple[Figure, dict[str, str]]:
    """Both read the same events from Kafka; the one writes a row and a fact, the other asks."""
    dsn, database = await at.database("bench_asking", migrations("workflow"))
    await staff(database)
    await database.pool.execute(TABLE)
    await raw.produce(
        at.bootstrap, CLAIM.name, [record(submitted(key(n)), 1) for n in range(CLAIMS)]
    )
    settings = ServiceSettings(
        postgres_dsn=dsn, kafka_bootstrap_servers=at.bootstrap, oidc_issuer="http://nobody"
    )

    async def inbox() -> float:
        await database.pool.execute(_EMPTY)
        return await consume(database, settings, (ClaimSubmitted,), record_event, CLAIMS)

    async def asking() -> float:
        await database.pool.execute(_EMPTY)
        rate = await consume(database, settings, (ClaimSubmitted,), on_claims, CLAIMS)
        if (tasks := await database.pool.fetchval("SELECT count(*) FROM task")) != CLAIMS:
            raise RuntimeError(f"{tasks} tasks for {CLAIMS} claims")
        return rate

    rates = await interleave("asking", {"inbox path": inbox, "workflow": asking})
    figure = Figure(
        "claims that become tasks",
        "claims/s",
        "inbox path, same events",
        0.50,
        rates["inbox path"],
        rates["workflow"],
    )
    return figure, {}


async def _deciding(at: Servers) -> tuple[Figure, dict[str, str]]:
    dsn, database = await at.database("bench_deciding", migrations("workflow"))
    other_dsn, other = await at.database("bench_deciding_pgbench", migrations("workflow"))
    await staff(database)
    await staff(other)
    settings = {"definitions_dir": definitions_folder(), "roles": '["api", "loops"]'}
    async with (
        issuer() as tokens,
        service(at, "workflow", dsn, tokens.url, **settings) as (workflow, port),
    ):
        script = await _decided_one(database, tokens, port)

        async def by_http() -> float:
            requests = _decisions(tokens, await asked(database, new_ids(DECISIONS)))
            return DECISIONS / float((await load(port, requests))["seconds"])

        async def by_pgbench() -> float:
            batch, each = str(uuid4()), DECISIONS // CONNECTIONS
            ids = [f"{batch}-{c}-{n}" for c in range(CONNECTIONS) for n in range(1, each + 1)]
            await asked(other, ids)
            return await pgbench(other_dsn, script.replace("{batch}", batch), each)

        before = cpu_seconds(workflow)
        contenders = {"pgbench": by_pgbench, "HTTP": by_http}
        rates = await interleave("deciding", contenders, at.analyze)
        spent = (cpu_seconds(workflow) - before) * 1000 / (DECISIONS * (ROUNDS + 1))
    for one in (database, other):
        if waiting := await one.pool.fetchval("SELECT count(*) FROM task WHERE status = 'open'"):
            raise RuntimeError(f"{waiting} tasks are not decided")
    figure = Figure(
        "decide over HTTP",
        "decisions/s",
        "pgbench, same rows",
        0.30,
        rates["pgbench"],
        rates["HTTP"],
    )
    return figure, {"CPU of workflow per decision": f"{spent:.2f} ms"}


def new_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


async def asked(database: Database, ids: Sequence[str]) -> list[str]:
    """Open an approval of each document; the ids of their tasks. No fact of it is kept."""
    async with database.transaction() as tx:
        await on_claims(tx, [_handed_in(id_) for id_ in ids])
    await database.pool.execute("TRUNCATE outbox, outbox_head")
    rows = await database.pool.fetch(
        "SELECT task_id FROM task WHERE document_id = ANY ($1)", list(ids)
    )
    return [row["task_id"] for row in rows]


def _handed_in(id_: str) -> Received[ClaimSubmitted]:
    event = submitted(id_)
    envelope = Envelope(id=EventId(uuid4()), time=AT, sequence=1, correlation_id=id_, event=event)
    return Received(CLAIM.name, 0, 0, envelope)


def _decisions(tokens: Issuer, tasks: Sequence[str]) -> list[str]:
    token = tokens.token(MANAGER, "approver", exp=4_000_000_000)
    said = json.dumps({"decision": "approve", "content_hash": HASH}).encode()
    return [
        request("POST", f"/api/tasks/{id_}/decide", token, said, key=id_).decode() for id_ in tasks
    ]


async def _decided_one(database: Database, tokens: Issuer, port: int) -> str:
    """Decide one task by HTTP; a script that writes for another what the service wrote for it."""
    (id_,) = new_ids(1)
    await load(port, _decisions(tokens, await asked(database, [id_])))
    answered = await database.pool.fetchrow("SELECT request_hash, response FROM idempotency")
    facts = await database.pool.fetch(
        "SELECT topic, version, type, headers, payload FROM outbox WHERE key = $1 ORDER BY seq", id_
    )
    return (
        _DECIDE.replace("{manager}", MANAGER)
        .replace("{content_hash}", HASH)
        .replace("{topic}", facts[0]["topic"])
        .replace("{facts_count}", str(len(facts)))
        .replace("{facts}", "".join(map(_fact, facts)))
        .replace("{request_hash}", rf"\x{answered['request_hash'].hex()}")
        .replace("{response}", rf"\x{answered['response'].hex()}")
    )


def _fact(row: asyncpg.Record) -> str:
    return (
        _FACT.replace("{topic}", row["topic"])
        .replace("{version}", str(row["version"]))
        .replace("{type}", row["type"])
        .replace("{headers}", row["headers"])
        .replace("{payload}", rf"\x{row['payload'].hex()}")
    )
