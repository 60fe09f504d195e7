"""All SQL of the notifier."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from chassis import Origin, Tx
from events import ClaimId, DocumentId, EmployeeId, EventId, NoticeId, TaskId
from events.directory import EmployeeUpdated, EmploymentStatus
from events.notices import ChannelName
from uuid_utils.compat import uuid7

from notifier.domain import (
    Addressed,
    Document,
    Employee,
    Flight,
    Notice,
    PipelineFact,
    Stage,
)


async def save_employees(tx: Tx, people: Sequence[EmployeeUpdated]) -> None:
    """Write every whole state; of one person only the last."""
    last = {person.employee_id: person for person in people}.values()
    await tx.execute(
        "INSERT INTO employee (employee_id, name, email, language, roles, is_active, updated_at)"
        " SELECT id, name, email, language, string_to_array(roles, ';'), is_active, updated_at"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[],"
        " $7::timestamptz[]) AS e (id, name, email, language, roles, is_active, updated_at)"
        " ON CONFLICT (employee_id) DO UPDATE SET name = excluded.name, email = excluded.email,"
        " language = excluded.language, roles = excluded.roles, is_active = excluded.is_active,"
        " updated_at = excluded.updated_at",
        [it.employee_id for it in last],
        [it.name for it in last],
        [it.email for it in last],
        [it.language for it in last],
        [";".join(it.roles) for it in last],
        [it.status is EmploymentStatus.ACTIVE for it in last],
        [it.updated_at for it in last],
    )


async def employee(tx: Tx, employee_id: EmployeeId) -> Employee | None:
    """The person, also one who left; None: the directory has not named them yet."""
    row = await tx.fetchrow(
        "SELECT employee_id, is_active, email FROM employee WHERE employee_id = $1", employee_id
    )
    return None if row is None else Employee(**row)


async def holders(tx: Tx, role: str) -> list[Employee]:
    """Everyone who works here and holds the role."""
    rows = await tx.fetch(
        "SELECT employee_id, is_active, email FROM employee"
        " WHERE is_active AND roles @> ARRAY[$1] ORDER BY employee_id",
        role,
    )
    return [Employee(**row) for row in rows]


async def save_document(tx: Tx, document: Document) -> None:
    """Keep what the newest revision says."""
    await tx.execute(
        "INSERT INTO document AS d (document_id, revision, employee_id, title, amount, currency)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (document_id) DO UPDATE SET revision = excluded.revision,"
        " employee_id = excluded.employee_id, title = excluded.title, amount = excluded.amount,"
        " currency = excluded.currency WHERE excluded.revision > d.revision",
        document.document_id,
        document.revision,
        document.employee_id,
        document.title,
        document.amount,
        document.currency,
    )


async def document(tx: Tx, document_id: DocumentId) -> Document | None:
    """What is known of the document; None: nothing yet."""
    row = await tx.fetchrow(
        "SELECT document_id, revision, employee_id, title, amount, currency FROM document"
        " WHERE document_id = $1",
        document_id,
    )
    return None if row is None else Document(**row)


async def add_notices(tx: Tx, cause: EventId, notices: Sequence[Notice]) -> None:
    """Due from now on. A notice that this cause has already led to is left as it is."""
    await tx.executemany(
        "INSERT INTO notice (notice_id, cause_id, recipient_id, document_id, template, channel,"
        ' "values", task_id, next_at, correlation_id, traceparent, created_at)'
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $9)"
        " ON CONFLICT (cause_id, recipient_id, channel) DO NOTHING",
        [
            (
                uuid7(),
                cause,
                it.recipient_id,
                it.tidings.document_id,
                it.tidings.template.value,
                it.channel.value,
                json.dumps(dict(it.tidings.values), ensure_ascii=False),
                it.tidings.task_id,
                tx.now,
                tx.origin.correlation_id,
                tx.origin.traceparent,
            )
            for it in notices
        ],
    )


async def end_tasks(tx: Tx, tasks: Sequence[tuple[DocumentId, TaskId]]) -> None:
    """Nobody needs to do these any more: drop what has not gone out, mark what has or just may."""
    documents, ids = zip(*tasks, strict=True)
    await tx.execute(
        "DELETE FROM notice n USING unnest($1::text[], $2::text[]) AS t (document, task)"
        " WHERE n.document_id = t.document AND n.task_id = t.task AND n.done_at IS NULL"
        " AND n.state = 'due' AND (n.attempts = 0 OR n.reason IS NOT NULL)",
        documents,
        ids,
    )
    await tx.execute(
        "UPDATE notice n SET done_at = $3 FROM unnest($1::text[], $2::text[]) AS t (document, task)"
        " WHERE n.document_id = t.document AND n.task_id = t.task AND n.done_at IS NULL",
        documents,
        ids,
        tx.now,
    )


async def asked(tx: Tx, document_id: DocumentId) -> list[Employee]:
    """Everyone who was asked to do a task of this document that has not ended."""
    rows = await tx.fetch(
        "SELECT DISTINCT e.employee_id, e.is_active, e.email FROM notice n"
        " JOIN employee e ON e.employee_id = n.recipient_id"
        " WHERE n.document_id = $1 AND n.task_id IS NOT NULL AND n.done_at IS NULL",
        document_id,
    )
    return [Employee(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Taken:
    """A due notice that is ours until the lease ends. `attempt` counts from 1."""

    notice: Addressed
    attempt: int
    may_be_second: bool  # an attempt was cut off between the call and its record
    origin: Origin


async def take_due(tx: Tx, channel: ChannelName, *, at_most: int, lease: timedelta) -> list[Taken]:
    """Take what is due on this channel, longest waiting first, past what others have taken."""
    rows = await tx.fetch(
        "WITH due AS (SELECT notice_id, attempts, reason FROM notice"
        " WHERE channel = $1 AND state = 'due' AND next_at <= $2"
        " ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED), taken AS ("
        " UPDATE notice n SET attempts = n.attempts + 1, next_at = $4, reason = NULL FROM due"
        " WHERE n.notice_id = due.notice_id"
        " RETURNING n.*, due.attempts > 0 AND due.reason IS NULL AS may_be_second)"
        ' SELECT n.*, e.name, e.email, e.language, e.is_active, names_in(n."values") AS names'
        " FROM taken n JOIN employee e ON e.employee_id = n.recipient_id",
        channel.value,
        tx.now,
        at_most,
        tx.now + lease,
    )
    return [
        Taken(
            notice=_addressed(row),
            attempt=row["attempts"],
            may_be_second=row["may_be_second"],
            origin=Origin(row["correlation_id"], EventId(row["cause_id"]), row["traceparent"]),
        )
        for row in rows
    ]


def _addressed(row: asyncpg.Record) -> Addressed:
    values = json.loads(row["values"])
    names = json.loads(row["names"] or "{}")
    people = {key.removesuffix("_id"): names.get(key, "") for key in values if key.endswith("_id")}
    return Addressed(
        notice_id=NoticeId(str(row["notice_id"])),
        recipient_id=EmployeeId(row["recipient_id"]),
        document_id=DocumentId(row["document_id"]),
        template=row["template"],
        language=row["language"],
        email=row["email"],
        is_active=row["is_active"],
        values={**values, **people, "name": row["name"]},
    )


async def settle(tx: Tx, taken: Taken, state: str, reason: str | None = None) -> bool:
    """Record the end, `sent` or `failed`; False: the lease ran out and another attempt decides."""
    done = await tx.execute(
        "UPDATE notice SET state = $3, reason = $4, settled_at = $5"
        " WHERE notice_id = $1 AND attempts = $2 AND state = 'due'",
        UUID(taken.notice.notice_id),
        taken.attempt,
        state,
        reason,
        tx.now,
    )
    return done == "UPDATE 1"


async def postpone(tx: Tx, taken: Taken, reason: str, next_at: datetime) -> None:
    """Record why the attempt failed and when the next one is due."""
    await tx.execute(
        "UPDATE notice SET reason = $3, next_at = $4"
        " WHERE notice_id = $1 AND attempts = $2 AND state = 'due'",
        UUID(taken.notice.notice_id),
        taken.attempt,
        reason,
        next_at,
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A notice as its recipient reads it in the app. `done_at`: its task had ended by then."""

    notice: Addressed
    sent_at: datetime
    read_at: datetime | None
    done_at: datetime | None


_SHOWN = (
    'SELECT n.*, e.name, e.email, e.language, e.is_active, names_in(n."values") AS names'
    " FROM notice n JOIN employee e ON e.employee_id = n.recipient_id"
    " WHERE n.recipient_id = $1 AND n.channel = 'in_app' AND n.state = 'sent'"
)


async def notices_of(
    tx: Tx, recipient: str, *, unread: bool, before: UUID | None, limit: int
) -> list[Shown]:
    """The recipient's notices, newest first; `before`: older than this one."""
    rows = await tx.fetch(
        f"{_SHOWN} AND (NOT $2 OR n.read_at IS NULL AND n.done_at IS NULL)"
        " AND ($3::uuid IS NULL OR n.notice_id < $3) ORDER BY n.notice_id DESC LIMIT $4",
        recipient,
        unread,
        before,
        limit,
    )
    return [_shown(row) for row in rows]


async def notice_of(tx: Tx, recipient: str, notice_id: UUID) -> Shown | None:
    """The notice, if it is this recipient's."""
    row = await tx.fetchrow(f"{_SHOWN} AND n.notice_id = $2", recipient, notice_id)
    return None if row is None else _shown(row)


def _shown(row: asyncpg.Record) -> Shown:
    return Shown(_addressed(row), row["settled_at"], row["read_at"], row["done_at"])


async def mark_read(tx: Tx, recipient: str, notice_id: UUID) -> None:
    """Keep when it was first read."""
    await tx.execute(
        "UPDATE notice SET read_at = $3 WHERE notice_id = $2 AND recipient_id = $1"
        " AND channel = 'in_app' AND state = 'sent' AND read_at IS NULL",
        recipient,
        notice_id,
        tx.now,
    )


async def add_pipeline_facts(tx: Tx, facts: Sequence[PipelineFact]) -> None:
    """Keep each fact once."""
    await tx.execute(
        "INSERT INTO pipeline_fact (claim_id, side, sequence, stage, revision, at)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[],"
        " $6::timestamptz[]) ON CONFLICT DO NOTHING",
        [it.claim_id for it in facts],
        [it.side.value for it in facts],
        [it.sequence for it in facts],
        [it.stage.value for it in facts],
        [it.revision for it in facts],
        [it.at for it in facts],
    )


async def lock_flight(tx: Tx, generation: int, claim_id: ClaimId) -> Flight:
    """The claim in the view, new if need be, locked until the commit."""
    row = await tx.fetchrow(
        "INSERT INTO pipeline_view (generation, claim_id) VALUES ($1, $2)"
        " ON CONFLICT (generation, claim_id) DO UPDATE SET claim_id = excluded.claim_id"
        " RETURNING claim_id, claim_sequence, approval_sequence, stage, since, revision,"
        " approving_revision, approving_since",
        generation,
        claim_id,
    )
    found = dict(row or {})
    return Flight(**{**found, "stage": Stage(found["stage"]) if found["stage"] else None})


async def save_flight(tx: Tx, generation: int, flight: Flight) -> None:
    """Write the claim as it is after a fact."""
    await tx.execute(
        "UPDATE pipeline_view SET claim_sequence = $3, approval_sequence = $4, stage = $5,"
        " since = $6, revision = $7, approving_revision = $8, approving_since = $9"
        " WHERE generation = $1 AND claim_id = $2",
        generation,
        flight.claim_id,
        flight.claim_sequence,
        flight.approval_sequence,
        flight.stage,
        flight.since,
        flight.revision,
        flight.approving_revision,
        flight.approving_since,
    )


async def forget_generations_before(tx: Tx, generation: int) -> None:
    """Throw away what earlier generations have folded."""
    await tx.execute("DELETE FROM pipeline_view WHERE generation < $1", generation)


Pipeline = dict[ClaimId, tuple[Stage, datetime]]


async def pipeline_from_view(tx: Tx, generation: int) -> Pipeline:
    """Stage and since when, of every claim, as Faust has folded it."""
    rows = await tx.fetch(
        "SELECT claim_id, stage, since FROM pipeline_position WHERE generation = $1", generation
    )
    return {ClaimId(row["claim_id"]): (Stage(row["stage"]), row["since"]) for row in rows}


async def pipeline_from_facts(tx: Tx) -> Pipeline:
    """The same, folded by SQL from what the ordinary consumer has kept."""
    rows = await tx.fetch(_FOLD)
    return {ClaimId(row["claim_id"]): (Stage(row["stage"]), row["since"]) for row in rows}


@dataclass(frozen=True, slots=True)
class AtStage:
    """The claims at one stage: how many, and since when the oldest and the median one."""

    stage: Stage
    claims: int
    oldest_since: datetime
    median_since: datetime


async def pipeline_summary(tx: Tx, generation: int) -> list[AtStage]:
    """Every stage at which there are claims."""
    rows = await tx.fetch(
        "SELECT stage, count(*) AS claims, min(since) AS oldest_since,"
        " percentile_disc(0.5) WITHIN GROUP (ORDER BY since) AS median_since"
        " FROM pipeline_position WHERE generation = $1 GROUP BY stage",
        generation,
    )
    return [AtStage(**{**row, "stage": Stage(row["stage"])}) for row in rows]


# The stage by the claim's side, entered at the first fact after the last one of another stage;
# then `approving` for a claim of which somebody was asked about the revision handed in last.
_FOLD = """
WITH last AS (
    SELECT DISTINCT ON (claim_id) claim_id, stage FROM pipeline_fact
     WHERE side = 'claim' ORDER BY claim_id, sequence DESC
), claim AS (
    SELECT l.claim_id, l.stage,
           (SELECT f.at FROM pipeline_fact f
             WHERE f.claim_id = l.claim_id AND f.side = 'claim' AND f.sequence > coalesce((
                   SELECT max(o.sequence) FROM pipeline_fact o
                    WHERE o.claim_id = l.claim_id AND o.side = 'claim' AND o.stage <> l.stage), 0)
             ORDER BY f.sequence LIMIT 1) AS since,
           (SELECT max(f.revision) FROM pipeline_fact f
             WHERE f.claim_id = l.claim_id AND f.side = 'claim') AS revision
      FROM last l
)
SELECT c.claim_id,
       CASE WHEN a.at IS NULL THEN c.stage ELSE 'approving' END AS stage,
       coalesce(a.at, c.since) AS since
  FROM claim c LEFT JOIN LATERAL (
       SELECT at FROM pipeline_fact f
        WHERE f.claim_id = c.claim_id AND f.side = 'approval' AND c.stage = 'submitted'
          AND f.revision = (SELECT max(m.revision) FROM pipeline_fact m
                             WHERE m.claim_id = c.claim_id AND m.side = 'approval')
          AND f.revision >= c.revision
        ORDER BY f.sequence LIMIT 1) a ON true
"""
