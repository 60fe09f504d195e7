"""Differences between an OA and us that wait for a person, both sides as they were."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from chassis import Tx
from events import DocumentId, InstanceId, TaskId, TenantId
from events.oa import Drift
from uuid_utils.compat import uuid7

from oa_connector.domain import Difference, Repair


@dataclass(frozen=True, slots=True)
class Case:
    """A difference as it is kept. `repair` is what was decided, `done_at` when it was seen done."""

    id: UUID
    difference: Difference
    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    detected_at: datetime
    repair: Repair | None
    note: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    done_at: datetime | None


async def add_case(
    tx: Tx, difference: Difference, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> bool:
    """Keep it; False when the same difference of this process waits already."""
    added = await tx.fetchval(
        "INSERT INTO drift (id, tenant, business_key, document_id, revision, task_id, instance_id,"
        " drift, detail, ours, theirs, detected_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        " ON CONFLICT (business_key, drift, coalesce(instance_id, ''))"
        " WHERE resolved_at IS NULL DO NOTHING RETURNING true",
        *(UUID(str(uuid7())), difference.tenant, difference.business_key),
        *(difference.document_id, difference.revision, difference.task_id),
        *(difference.instance_id, difference.drift, difference.detail),
        *(json.dumps(ours, default=str), json.dumps(theirs, default=str), tx.now),
    )
    return added is not None


async def cases(tx: Tx, *, is_open: bool, limit: int, after: UUID | None = None) -> list[Case]:
    """Those that wait, or those that were resolved; the newest first, from `after` on."""
    rows = await tx.fetch(
        "SELECT * FROM drift WHERE (resolved_at IS NULL) = $1 AND ($3::uuid IS NULL OR id < $3)"
        " ORDER BY id DESC LIMIT $2",  # ids grow with time
        *(is_open, limit, after),
    )
    return [_case(row) for row in rows]


async def case_for_change(tx: Tx, id_: UUID) -> Case | None:
    """The case, locked."""
    row = await tx.fetchrow("SELECT * FROM drift WHERE id = $1 FOR UPDATE", id_)
    return _case(row) if row else None


async def resolve_case(tx: Tx, id_: UUID, repair: Repair, note: str, by: str) -> None:
    await tx.execute(
        "UPDATE drift SET repair = $2, note = $3, resolved_by = $4, resolved_at = $5 WHERE id = $1",
        *(id_, repair, note, by, tx.now),
    )


async def case_gone(
    tx: Tx, which: tuple[str, Drift, InstanceId | None], note: str, by: str
) -> None:
    """What waits under this key about this process is no more; nobody had to decide about it."""
    await tx.execute(
        "UPDATE drift SET note = $4, resolved_by = $5, resolved_at = $6, done_at = $6"
        " WHERE business_key = $1 AND drift = $2 AND instance_id = $3 AND resolved_at IS NULL",
        *(*which, note, by, tx.now),
    )


async def to_withdraw(tx: Tx, tenant: TenantId) -> list[Case]:
    """Ghosts, unless a person leaves them be, and orphans that a person wants ended, or says are.

    The OA is yet to show it. Those of a person come first.
    """
    rows = await tx.fetch(
        "SELECT * FROM drift WHERE tenant = $1 AND done_at IS NULL"
        " AND (drift IN ('ghost', 'orphan') AND repair IN ('withdraw', 'read_again')"
        " OR drift = 'ghost' AND resolved_at IS NULL)"
        " ORDER BY resolved_at NULLS LAST, id LIMIT 100",
        tenant,
    )
    return [_case(row) for row in rows]


async def case_done(tx: Tx, id_: UUID) -> None:
    await tx.execute("UPDATE drift SET done_at = $2 WHERE id = $1", id_, tx.now)


def _case(row: asyncpg.Record) -> Case:
    return Case(
        id=row["id"],
        difference=Difference(
            tenant=TenantId(row["tenant"]),
            business_key=row["business_key"],
            document_id=DocumentId(row["document_id"]),
            revision=row["revision"],
            task_id=TaskId(row["task_id"]) if row["task_id"] else None,
            instance_id=InstanceId(row["instance_id"]) if row["instance_id"] else None,
            drift=Drift(row["drift"]),
            detail=row["detail"],
        ),
        ours=json.loads(row["ours"]),
        theirs=json.loads(row["theirs"]),
        detected_at=row["detected_at"],
        repair=Repair(row["repair"]) if row["repair"] else None,
        note=row["note"],
        resolved_by=row["resolved_by"],
        resolved_at=row["resolved_at"],
        done_at=row["done_at"],
    )
