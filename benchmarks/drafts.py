"""Claims ready to be handed in, and pgbench handing them in by itself: the limit of submits."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
from chassis.db import Database
from chassis.testing import Issuer
from load import request
from local_stack.postgres import PROGRAMS
from servers import FOLDER

EMPLOYEE = "E1001"
CONNECTIONS = 12  # of 4 to 32, with so many pgbench is fastest on two cores
_DRAFTS = """
WITH added AS (
    INSERT INTO claim (id, employee_id, title, status, revision, version, total, currency,
                       created_at, changed_at)
    SELECT id, $2, '上海客户拜访', 'draft', 0, 1, 241.00, 'CNY', now(), now()
      FROM unnest($1::text[]) AS a (id) RETURNING id
)
INSERT INTO expense_line (claim_id, line_no, category, spent_on, city, amount, currency)
SELECT id, line_no, 'meal', current_date - 2, '上海', 120.50, 'CNY'
  FROM added, generate_series(1, 2) AS line_no
"""
# The five rows that one submit writes. Each client of pgbench counts through its own drafts.
_SUBMIT = r"""\set n :n + 1
BEGIN;
INSERT INTO idempotency (principal, route, key, request_hash, status, response)
VALUES ('{employee}', format('POST /api/claims/%s-%s/submit', :client_id::int, :n::int),
        gen_random_uuid()::text, '{request_hash}', 202, '{response}');
UPDATE claim SET status = 'submitted', revision = 1, version = 2, content_hash = '{content_hash}',
       findings = '[]', changed_at = now(), submitted_at = now()
 WHERE id = format('{batch}-%s-%s', :client_id::int, :n::int) AND version = 1;
INSERT INTO outbox_head AS h (topic, key, version)
VALUES ('{topic}', format('{batch}-%s-%s', :client_id::int, :n::int), 1)
ON CONFLICT (topic, key) DO UPDATE SET version = h.version + 1;
INSERT INTO outbox (event_id, topic, key, version, type, headers, payload)
VALUES (gen_random_uuid(), '{topic}', format('{batch}-%s-%s', :client_id::int, :n::int), 1,
        '{type}', '{headers}', '{payload}');
COMMIT;
"""


async def draft(database: Database, ids: Sequence[str]) -> None:
    await database.pool.execute(_DRAFTS, list(ids), EMPLOYEE)


async def drafts(database: Database, count: int) -> list[str]:
    """So many new drafts of one employee; their ids."""
    rows = await database.pool.fetch(
        "SELECT uuidv7()::text AS id FROM generate_series(1, $1)", count
    )
    ids = [row["id"] for row in rows]
    await draft(database, ids)
    return ids


def submits(issuer: Issuer, ids: Sequence[str]) -> list[str]:
    token = issuer.token(EMPLOYEE, "employee", exp=4_000_000_000)
    return [
        request("POST", f"/api/claims/{id_}/submit", token, key=f"submit {id_}").decode()
        for id_ in ids
    ]


async def load(port: int, requests: list[str]) -> dict[str, Any]:
    """Send them from a process of its own, so that the client does not slow the measurement."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("load.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told = {"port": port, "connections": CONNECTIONS, "requests": requests}
    said, trouble = await program.communicate(json.dumps(told).encode())
    if program.returncode:
        raise RuntimeError(trouble.decode()[-2000:])
    answer: dict[str, Any] = json.loads(said)
    return answer


async def pgbench(dsn: str, script: str, each: int) -> float:
    """Run the script so many times in each of the clients; transactions a second.

    `:client_id` and `:n`, which counts from 1 where the script does so, name a client's own rows.
    """
    file = FOLDER / "pgbench.sql"
    file.write_text(script)
    program = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "pgbench", "--no-vacuum", "--protocol=prepared", "--define=n=0"),
        *(f"--client={CONNECTIONS}", f"--transactions={each}", f"--file={file}", dsn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
    )
    said, trouble = await program.communicate()
    found = re.search(rb"^tps = ([0-9.]+)", said, re.MULTILINE)
    if program.returncode or found is None:
        raise RuntimeError(trouble.decode()[-2000:])
    return float(found[1])


class Pgbench:
    """Twelve clients of PostgreSQL that write what the service writes, and do nothing else."""

    def __init__(self, dsn: str, database: Database, sample: asyncpg.Record) -> None:
        self._dsn = dsn
        self._database = database
        self._sample = sample
        self._batch = 0

    async def rate(self, count: int) -> float:
        """Submits a second."""
        self._batch += 1
        each = count // CONNECTIONS
        batch = f"bench-{self._batch}"
        places = [(client, n) for client in range(CONNECTIONS) for n in range(1, each + 1)]
        await draft(self._database, [f"{batch}-{client}-{n}" for client, n in places])
        rate = await pgbench(self._dsn, _script(self._sample, batch), each)
        await self._check(batch, each * CONNECTIONS)
        return rate

    async def _check(self, batch: str, count: int) -> None:
        done = await self._database.pool.fetchval(
            "SELECT count(*) FROM claim JOIN outbox ON key = id"
            " WHERE id LIKE $1 AND status = 'submitted'",
            f"{batch}-%",
        )
        if done != count:
            raise RuntimeError(f"pgbench submitted {done} claims, not {count}")


async def sample(database: Database, id_: str) -> asyncpg.Record:
    """The rows that the service wrote for this claim: pgbench writes the same bytes."""
    return await database.pool.fetchrow(
        "SELECT c.content_hash, i.request_hash, i.response, o.topic, o.type, o.headers, o.payload"
        " FROM claim c JOIN outbox o ON o.key = c.id"
        " JOIN idempotency i ON i.route = 'POST /api/claims/' || c.id || '/submit'"
        " WHERE c.id = $1",
        id_,
    )


def _script(row: asyncpg.Record, batch: str) -> str:
    return _SUBMIT.format(
        employee=EMPLOYEE,
        batch=batch,
        topic=row["topic"],
        type=row["type"],
        headers=row["headers"],
        content_hash=row["content_hash"],
        request_hash=rf"\x{row['request_hash'].hex()}",
        response=rf"\x{row['response'].hex()}",
        payload=rf"\x{row['payload'].hex()}",
    )
