"""All SQL of the connector: submissions with their leases, callbacks, what each OA said."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from chassis import Origin, Tx
from events import DocumentId, EmployeeId, EventId, InstanceId, TenantId
from events.oa import Drift

from oa_connector.domain import Form, State, Submission

# What a database that is down, stopping or saturated looks like to a loop.
AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
)
SENDING = (State.NEW, State.SUBMITTING, State.UNKNOWN, State.RESOLVING)
FOLLOWING = (State.SUBMITTED, State.WITHDRAWING)


@dataclass(frozen=True, slots=True)
class Taken:
    """A due submission that this process holds until the lease in it runs out."""

    submission: Submission
    origin: Origin


@dataclass(frozen=True, slots=True)
class Tenant:
    """What one OA said about itself: its version, or the error instead."""

    tenant: TenantId
    version: str | None
    error: str | None
    checked_at: datetime


async def add_submission(tx: Tx, submission: Submission) -> None:
    """Add it, due now, unless this revision is there already; later facts keep tx's origin."""
    await tx.execute(
        """
        INSERT INTO submission (document_id, revision, tenant, state, content_hash, form, attempt,
               lookups, failures, hints, steps_seen, last_error, next_at, correlation_id,
               causation_id, traceparent, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, $8,
               CASE WHEN $4 = 'NEW' THEN $12::timestamptz END, $9, $10, $11, $12, $12)
        ON CONFLICT (document_id, revision) DO NOTHING
        """,
        *(submission.document_id, submission.revision, submission.tenant, submission.state),
        *(submission.content_hash, json.dumps(asdict(submission.form)), submission.attempt),
        submission.last_error,
        *(tx.origin.correlation_id, tx.origin.causation_id, tx.origin.traceparent, tx.now),
    )


async def submission(tx: Tx, document_id: DocumentId, revision: int) -> Submission | None:
    """The row, locked until the end of the transaction."""
    row = await tx.fetchrow(
        "SELECT * FROM submission WHERE document_id = $1 AND revision = $2 FOR UPDATE",
        document_id,
        revision,
    )
    return _submission(row) if row else None


async def leased(tx: Tx, held: Submission) -> Submission | None:
    """The row as it is now, locked; None when its lease has passed to someone else."""
    row = await tx.fetchrow(
        "SELECT * FROM submission WHERE document_id = $1 AND revision = $2 AND lease_until = $3"
        " FOR UPDATE",
        *(held.document_id, held.revision, held.lease_until),
    )
    return _submission(row) if row else None


async def save(tx: Tx, submission: Submission, due_at: datetime | None) -> None:
    """Write the state back; `due_at` None leaves the time at which it is due as it was."""
    await tx.execute(
        """
        UPDATE submission SET state = $3, attempt = $4, lookups = $5, failures = $6,
               steps_seen = $7, instance_id = $8, drift = $9, withdraw_reason = $10,
               opened_at = $11, last_error = $12, lease_until = $13, updated_at = $14,
               next_at = CASE WHEN $3 IN ('CLOSED', 'NEEDS_HUMAN') THEN NULL
                              ELSE coalesce($15, next_at) END
         WHERE document_id = $1 AND revision = $2
        """,
        *(submission.document_id, submission.revision, submission.state, submission.attempt),
        *(submission.lookups, submission.failures, submission.steps_seen, submission.instance_id),
        *(submission.drift, submission.withdraw_reason, submission.opened_at),
        *(submission.last_error, submission.lease_until, tx.now, due_at),
    )


async def take_due(
    tx: Tx, tenant: TenantId, states: Sequence[State], *, limit: int, lease: timedelta
) -> list[Taken]:
    """Take due rows that nobody holds. A create whose holder fell silent becomes a look-up."""
    rows = await tx.fetch(
        """
        WITH due AS (
            SELECT document_id, revision FROM submission
             WHERE tenant = $1 AND state = ANY($2) AND next_at <= $3
               AND (lease_until IS NULL OR lease_until <= $3)
             ORDER BY next_at LIMIT $4 FOR UPDATE SKIP LOCKED
        )
        UPDATE submission s SET lease_until = $5, state = CASE s.state
                   WHEN 'NEW' THEN 'SUBMITTING'
                   WHEN 'SUBMITTING' THEN 'RESOLVING'
                   WHEN 'UNKNOWN' THEN 'RESOLVING'
                   ELSE s.state END
          FROM due WHERE s.document_id = due.document_id AND s.revision = due.revision
        RETURNING s.*
        """,
        *(tenant, states, tx.now, limit, tx.now + lease),
    )
    return [Taken(_submission(row), _origin(row)) for row in rows]


async def take_strangers(tx: Tx, known: Sequence[TenantId]) -> list[Taken]:
    """Rows to send to an OA that our settings do not name; locked."""
    rows = await tx.fetch(
        "SELECT * FROM submission WHERE next_at IS NOT NULL AND state = 'NEW'"
        " AND NOT tenant = ANY($1) LIMIT 100 FOR UPDATE SKIP LOCKED",
        known,
    )
    return [Taken(_submission(row), _origin(row)) for row in rows]


async def submissions(tx: Tx, state: State | None, limit: int) -> list[Submission]:
    """Those in this state, or all that are not closed, the longest untouched first."""
    rows = await tx.fetch(
        "SELECT * FROM submission WHERE state = $1 OR ($1 IS NULL AND state <> 'CLOSED')"
        " ORDER BY updated_at LIMIT $2",
        state,
        limit,
    )
    return [_submission(row) for row in rows]


async def add_callback(
    tx: Tx, tenant: TenantId, delivery: tuple[str, str], instance_id: InstanceId, body: bytes
) -> bool:
    """Keep a callback; False when its (delivery id, signature) was seen before."""
    added = await tx.fetchval(
        "INSERT INTO callback (tenant, delivery_id, signature, instance_id, body, received_at)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true",
        *(tenant, *delivery, instance_id, body, tx.now),
    )
    return added is not None


async def hint(tx: Tx, tenant: TenantId, instance_id: InstanceId) -> bool:
    """Make the submission of this process due now; False when none that is open has it."""
    done = await tx.execute(
        "UPDATE submission SET hints = hints + 1, next_at = $3"
        " WHERE tenant = $1 AND instance_id = $2 AND next_at IS NOT NULL",
        *(tenant, instance_id, tx.now),
    )
    return done != "UPDATE 0"


async def forget_callbacks(tx: Tx, before: datetime) -> None:
    await tx.execute("DELETE FROM callback WHERE received_at < $1", before)


async def save_tenant(tx: Tx, tenant: TenantId, *, version: str | None, error: str | None) -> None:
    """Keep what the OA said; after an error the last known version stays."""
    await tx.execute(
        "INSERT INTO tenant (tenant, version, error, checked_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (tenant) DO UPDATE SET version = coalesce(excluded.version, tenant.version),"
        " error = excluded.error, checked_at = excluded.checked_at",
        *(tenant, version, error, tx.now),
    )


async def tenants(tx: Tx) -> list[Tenant]:
    rows = await tx.fetch("SELECT * FROM tenant ORDER BY tenant")
    return [Tenant(**row) for row in rows]


def _submission(row: asyncpg.Record) -> Submission:
    form: dict[str, Any] = json.loads(row["form"])
    route = tuple((step, EmployeeId(approver)) for step, approver in form.pop("route"))
    details = tuple(form.pop("details", ()))
    plain = {
        name: row[name] for name in Submission.__slots__ if name not in {"form", "state", "drift"}
    }
    return Submission(
        **plain,
        form=Form(**form, route=route, details=details),
        state=State(row["state"]),
        drift=Drift(row["drift"]) if row["drift"] else None,
    )


def _origin(row: asyncpg.Record) -> Origin:
    causation = row["causation_id"]
    return Origin(
        correlation_id=row["correlation_id"],
        causation_id=EventId(causation) if causation else None,
        traceparent=row["traceparent"],
    )
