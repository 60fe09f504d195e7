"""Submissions with their leases: due rows are taken, worked on and written back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from chassis import Origin, Tx
from events import DocumentId, EmployeeId, EventId, InstanceId, TenantId
from events.oa import Drift
from events.workflow import Decision

from oa_connector.domain import Farewell, Form, Request, State, Status, Submission, no_oa
from oa_connector.store.tenants import ATTENDED

SENDING = (State.NEW, State.SUBMITTING, State.UNKNOWN, State.RESOLVING)
FOLLOWING = (State.SUBMITTED, State.WITHDRAWING, State.CLOSED)

Place = tuple[datetime, str]  # when it was touched last, and its business key


@dataclass(frozen=True, slots=True)
class Taken:
    """A due submission that this process holds until the lease in it runs out."""

    submission: Submission
    origin: Origin


async def add_submission(tx: Tx, submission: Submission) -> None:
    """Add it, due now, unless it is there already; later facts keep tx's origin."""
    await tx.execute(
        """
        INSERT INTO submission (document_id, revision, tenant, state, content_hash, form, attempt,
               lookups, failures, hints, steps_seen, last_error, task_id, template, next_at,
               correlation_id, causation_id, traceparent, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, $8, $9, $10,
               CASE WHEN $4 = 'NEW' THEN $14::timestamptz END, $11, $12, $13, $14, $14)
        ON CONFLICT (business_key) DO NOTHING
        """,
        *(submission.document_id, submission.revision, submission.tenant, submission.state),
        *(submission.content_hash, json.dumps(asdict(submission.form)), submission.attempt),
        *(submission.last_error, submission.task_id, submission.template),
        *(tx.origin.correlation_id, tx.origin.causation_id, tx.origin.traceparent, tx.now),
    )


async def submission(tx: Tx, business_key: str) -> Submission | None:
    """The row, locked until the end of the transaction."""
    row = await tx.fetchrow(
        "SELECT * FROM submission WHERE business_key = $1 FOR UPDATE", business_key
    )
    return _submission(row) if row else None


async def submissions_of(tx: Tx, document_id: DocumentId, revision: int) -> list[Submission]:
    """All of one revision, the document's own and its tasks', locked."""
    rows = await tx.fetch(
        "SELECT * FROM submission WHERE document_id = $1 AND revision = $2"
        " ORDER BY business_key FOR UPDATE",
        *(document_id, revision),
    )
    return [_submission(row) for row in rows]


async def known(tx: Tx, tenant: TenantId, keys: Sequence[str]) -> dict[str, Submission]:
    """Those of these keys that we have, locked; somebody may be at work on them all the same."""
    rows = await tx.fetch(
        "SELECT * FROM submission WHERE tenant = $1 AND business_key = ANY($2)"
        " ORDER BY business_key FOR UPDATE",
        *(tenant, keys),
    )
    return {one.business_key: one for one in map(_submission, rows)}


async def unknown_keys(tx: Tx, keys: Sequence[str]) -> set[str]:
    """Those of these keys under which nothing was ever to be sent."""
    rows = await tx.fetch(
        "SELECT key FROM unnest($1::text[]) AS a (key)"
        " WHERE NOT EXISTS (SELECT FROM submission WHERE business_key = key)",
        keys,
    )
    return {row["key"] for row in rows}


async def leased(tx: Tx, held: Submission) -> Submission | None:
    """The row as it is now, locked; None when its lease has passed to someone else."""
    row = await tx.fetchrow(
        "SELECT * FROM submission WHERE business_key = $1 AND lease_until = $2 FOR UPDATE",
        *(held.business_key, held.lease_until),
    )
    return _submission(row) if row else None


async def save(tx: Tx, submission: Submission, due_at: datetime | None) -> None:
    """Write the state back. `due_at` None: what is closed or stuck never, else as it was."""
    await tx.execute(
        """
        UPDATE submission SET state = $2, attempt = $3, lookups = $4, failures = $5,
               steps_seen = $6, instance_id = $7, drift = $8, farewell = $9,
               opened_at = $10, last_error = $11, lease_until = $12, updated_at = $13,
               status = $14, version = $15, rereads = $16, missed = $17, is_annotated = $18,
               tries = $20, ended_at = $21, told = $22, deciders = $23,
               read_at = CASE WHEN lease_until IS NULL THEN read_at ELSE $13 END,
               next_at = CASE WHEN $2 = 'NEEDS_HUMAN' THEN NULL WHEN $2 = 'CLOSED' THEN $19
                              ELSE coalesce($19, next_at) END
         WHERE business_key = $1
        """,
        *(submission.business_key, submission.state, submission.attempt, submission.lookups),
        *(submission.failures, submission.steps_seen, submission.instance_id, submission.drift),
        *(_written(submission.farewell), submission.opened_at, submission.last_error),
        *(submission.lease_until, tx.now, submission.status, list(submission.version)),
        *(submission.rereads, submission.missed, submission.is_annotated, due_at),
        *(submission.tries, submission.ended_at, list(submission.told)),
        list(submission.deciders),
    )


async def save_note(tx: Tx, held: Submission) -> None:
    """What became of its note, while its holder goes on; nothing where the lease has passed."""
    await tx.execute(
        "UPDATE submission SET is_annotated = $3, tries = $4"
        " WHERE business_key = $1 AND lease_until = $2",
        *(held.business_key, held.lease_until, held.is_annotated, held.tries),
    )


async def save_name(tx: Tx, held: Submission) -> None:
    """How the OA calls its process, while its holder goes on; not where the lease has passed."""
    await tx.execute(
        "UPDATE submission SET instance_id = $3 WHERE business_key = $1 AND lease_until = $2",
        *(held.business_key, held.lease_until, held.instance_id),
    )


async def take_due(
    tx: Tx, tenant: TenantId, states: Sequence[State], *, limit: int, lease: timedelta
) -> list[Taken]:
    """Take due rows that nobody holds. A create whose holder fell silent becomes a look-up.

    What would be sent by a paused template stays where it is.
    """
    rows = await tx.fetch(
        """
        WITH due AS (
            SELECT business_key FROM submission s
             WHERE tenant = $1 AND state = ANY($2) AND next_at <= $3
               AND (lease_until IS NULL OR lease_until <= $3)
               AND NOT (state = 'NEW' AND EXISTS (
                   SELECT FROM template t WHERE t.tenant = s.tenant AND t.name = s.template
                      AND t.paused_at IS NOT NULL))
             ORDER BY next_at LIMIT $4 FOR UPDATE SKIP LOCKED
        )
        UPDATE submission s SET lease_until = $5, state = CASE s.state
                   WHEN 'NEW' THEN 'SUBMITTING'
                   WHEN 'SUBMITTING' THEN 'RESOLVING'
                   WHEN 'UNKNOWN' THEN 'RESOLVING'
                   ELSE s.state END
          FROM due WHERE s.business_key = due.business_key
        RETURNING s.*
        """,
        *(tenant, states, tx.now, limit, tx.now + lease),
    )
    return [_taken(row) for row in rows]


async def take_open(
    tx: Tx, place: tuple[TenantId, str], unread_since: datetime, *, limit: int, lease: timedelta
) -> list[Taken]:
    """Of an OA's open set the next by key, of those not read since then; held like due rows.

    `place`: the OA, and the key after which they come. Few at once: each must be read before its
    lease runs out. Where the OA calls back, what has moved on and is not due was missed.
    """
    rows = await tx.fetch(
        """
        WITH page AS (
            SELECT business_key FROM submission
             WHERE tenant = $1 AND state = 'SUBMITTED' AND business_key > $2
               AND coalesce(read_at, opened_at) < $3
               AND (lease_until IS NULL OR lease_until <= $4)
             ORDER BY business_key LIMIT $6 FOR UPDATE SKIP LOCKED
        )
        UPDATE submission s SET lease_until = $5,
               missed = CASE WHEN s.next_at > $4 AND EXISTS (
                   SELECT FROM tenant t
                    WHERE t.tenant = $1 AND t.capabilities -> 'sights' @> '["push"]')
                   THEN coalesce(s.missed, 'missed_callback') ELSE s.missed END
          FROM page WHERE s.business_key = page.business_key
        RETURNING s.*
        """,
        *(*place, unread_since, tx.now, tx.now + lease, limit),
    )
    return sorted(map(_taken, rows), key=lambda one: one.submission.business_key)


async def take_strangers(tx: Tx, known: Sequence[TenantId]) -> list[Taken]:
    """Rows of an OA that our settings do not name and that nobody works on; locked.

    An OA that another process of ours works for is in its settings: those may be newer than ours.
    """
    rows = await tx.fetch(
        "SELECT * FROM submission s WHERE next_at IS NOT NULL AND state <> 'CLOSED'"
        " AND NOT tenant = ANY($1) AND (lease_until IS NULL OR lease_until <= $2)"
        " AND NOT EXISTS (SELECT FROM tenant t WHERE t.tenant = s.tenant AND t.pulse_at > $3)"
        " LIMIT 100 FOR UPDATE SKIP LOCKED",
        *(known, tx.now, tx.now - ATTENDED),
    )
    return [_taken(row) for row in rows]


async def take_stranded(tx: Tx, known: Sequence[TenantId]) -> list[Taken]:
    """Rows that wait since our settings did not name their OA, which they do now; locked."""
    rows = await tx.fetch(
        "SELECT s.* FROM submission s JOIN unnest($1::text[], $2::text[]) AS t (tenant, reason)"
        " ON s.tenant = t.tenant AND s.last_error = t.reason"
        " WHERE s.state = 'NEEDS_HUMAN' LIMIT 100 FOR UPDATE OF s SKIP LOCKED",
        *(known, [no_oa(one) for one in known]),
    )
    return [_taken(row) for row in rows]


async def may_be_ours(tx: Tx, tenant: TenantId, key: str, instance_id: InstanceId) -> bool:
    """Whether a submission goes by this process, or looks for one under this key."""
    row = await tx.fetchrow(
        "SELECT FROM submission WHERE tenant = $1 AND (instance_id = $3 OR business_key = $2"
        " AND (instance_id IS NULL OR NOT state = ANY($4)))",
        *(tenant, key, instance_id, FOLLOWING),
    )
    return row is not None


async def origins(tx: Tx, keys: Sequence[str]) -> Mapping[str, Origin]:
    """Where the facts about these submissions come from."""
    rows = await tx.fetch(
        "SELECT business_key, correlation_id, causation_id, traceparent FROM submission"
        " WHERE business_key = ANY($1)",
        keys,
    )
    return {row["business_key"]: _origin(row) for row in rows}


async def submissions(
    tx: Tx, which: tuple[TenantId | None, State | None], limit: int, after: Place | None = None
) -> list[tuple[Submission, Place]]:
    """Those of this OA in this state, or all that are not closed, the longest untouched first.

    Each with its place in this order, from `after` on.
    """
    rows = await tx.fetch(
        "SELECT * FROM submission WHERE ($1::text IS NULL OR tenant = $1)"
        " AND (state = $2 OR ($2 IS NULL AND state <> 'CLOSED'))"
        " AND ($4::timestamptz IS NULL OR (updated_at, business_key) > ($4, $5))"
        " ORDER BY updated_at, business_key LIMIT $3",
        *(*which, limit, *(after or (None, None))),
    )
    return [(_submission(row), (row["updated_at"], row["business_key"])) for row in rows]


async def hint(tx: Tx, tenant: TenantId, instance_id: InstanceId) -> bool:
    """Make the submission of this process due now; False when it is not ours to follow."""
    done = await tx.execute(
        "UPDATE submission SET hints = hints + 1, next_at = $3"
        " WHERE tenant = $1 AND instance_id = $2 AND state <> 'NEEDS_HUMAN'",
        *(tenant, instance_id, tx.now),
    )
    return done != "UPDATE 0"


async def add_request(tx: Tx, request: Request) -> None:
    await tx.execute(
        "INSERT INTO request (document_id, revision, tenant, template, content_hash, form)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        *(request.document_id, request.revision, request.tenant, request.template),
        *(request.content_hash, json.dumps(asdict(request.form))),
    )


async def request(tx: Tx, document_id: DocumentId, revision: int) -> Request | None:
    """The mirrored approval of this revision, while it runs."""
    row = await tx.fetchrow(
        "SELECT * FROM request WHERE document_id = $1 AND revision = $2", document_id, revision
    )
    return Request(**{**row, "form": _form(row["form"])}) if row else None


async def drop_request(tx: Tx, document_id: DocumentId, revision: int) -> None:
    await tx.execute(
        "DELETE FROM request WHERE document_id = $1 AND revision = $2", document_id, revision
    )


def _written(farewell: Farewell | None) -> str | None:
    return json.dumps(asdict(farewell)) if farewell is not None else None


def _form(text: str) -> Form:
    form: dict[str, Any] = json.loads(text)
    route = tuple((step, EmployeeId(approver)) for step, approver in form.pop("route"))
    return Form(**form | {"route": route, "details": tuple(form.get("details", ()))})


def _farewell(text: str | None) -> Farewell | None:
    if text is None:
        return None
    said: dict[str, Any] = json.loads(text)
    decision = said.get("decision")
    return Farewell(said["reason"], said.get("note"), Decision(decision) if decision else None)


_PLAIN = set(Submission.__slots__) - {
    *("form", "state", "status", "version", "told", "deciders", "drift", "missed", "farewell"),
}


def _submission(row: asyncpg.Record) -> Submission:
    return Submission(
        **{name: row[name] for name in _PLAIN},
        form=_form(row["form"]),
        state=State(row["state"]),
        status=Status(row["status"]) if row["status"] else None,
        version=tuple(row["version"]),
        told=tuple(row["told"]),
        deciders=tuple(row["deciders"]),
        drift=Drift(row["drift"]) if row["drift"] else None,
        missed=Drift(row["missed"]) if row["missed"] else None,
        farewell=_farewell(row["farewell"]),
    )


def _taken(row: asyncpg.Record) -> Taken:
    return Taken(_submission(row), _origin(row))


def _origin(row: asyncpg.Record) -> Origin:
    causation = row["causation_id"]
    return Origin(
        correlation_id=row["correlation_id"],
        causation_id=EventId(causation) if causation else None,
        traceparent=row["traceparent"],
    )
