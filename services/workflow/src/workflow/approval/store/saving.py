"""What a change of approvals writes, in a number of statements that does not grow with them."""

from collections.abc import Sequence
from datetime import datetime

from chassis import Tx
from events.workflow import ApprovalActed
from msgspec import json

from workflow.approval.domain import Approval, Place, Task
from workflow.approval.store.rows import columns

# Rows travel as one JSON text, in bytes: asyncpg looks at each element of an array, and for so many
# columns that takes twice as long as to write the JSON.
_ADD_APPROVALS = """
INSERT INTO approval (document_id, revision, kind, definition, mode, tenant, submitter_id, title,
    amount, currency, content_hash, details, route, reasons, automatic, status, requested_at)
SELECT document_id, revision, kind, definition, mode, tenant, submitter_id, title,
    amount, currency, content_hash, details, route, reasons, automatic, status, $2
  FROM jsonb_populate_recordset(NULL::approval, convert_from($1, 'UTF8')::jsonb)
"""


async def add_approvals(tx: Tx, new: Sequence[Approval], at: datetime) -> None:
    """New approvals without their tasks."""
    rows = [
        {
            "document_id": one.document_id,
            "revision": one.revision,
            "kind": one.kind,
            "definition": one.definition,
            "mode": one.mode,
            "tenant": one.tenant,
            "submitter_id": one.submitter_id,
            "title": one.title,
            "amount": one.total.amount,
            "currency": one.total.currency,
            "content_hash": one.content_hash,
            "details": one.details,
            "route": one.route,
            "reasons": one.reasons,
            "automatic": one.automatic,
            "status": one.status,
        }
        for one in new
    ]
    await tx.execute(_ADD_APPROVALS, json.encode(rows), at)


async def save_approvals(tx: Tx, changed: Sequence[Approval]) -> None:
    """Status, route and where it goes back to, of approvals whose rows are locked."""
    await tx.execute(
        "UPDATE approval a SET status = n.status, route = n.route, back = n.back"
        " FROM unnest($1::text[], $2::int[], $3::text[], $4::jsonb[], $5::jsonb[])"
        "  AS n (document_id, revision, status, route, back)"
        " WHERE a.document_id = n.document_id AND a.revision = n.revision",
        *columns(changed, "document_id", "revision", "status"),
        [json.encode(one.route).decode() for one in changed],
        [None if one.back is None else json.encode(one.back).decode() for one in changed],
    )


# What a task leaves out stands at its default.
_SAVE_TASKS = """
INSERT INTO task (document_id, revision, task_id, step, round, seat, part, name, assignee_id, rule,
    native, assigned_at, verb, acting_for, added_by, due_at, is_stranded, status, closing,
    closed_at, decision, decided_by, via, content_hash, opinion, decided_at, automatic)
SELECT document, of_revision, task_id, step, round, seat, part, name, assignee_id, rule,
    native, assigned_at, verb, acting_for, added_by, due_at, coalesce(is_stranded, false),
    coalesce(status, 'open'), closing, closed_at, decision, decided_by, via, content_hash, opinion,
    decided_at, automatic
  FROM ROWS FROM (unnest($1::text[], $2::int[]),
                  json_populate_recordset(NULL::task, convert_from($3, 'UTF8')::json))
       AS changed (document, of_revision)
ON CONFLICT (task_id) DO UPDATE SET
    assignee_id = excluded.assignee_id, rule = excluded.rule, verb = excluded.verb,
    acting_for = excluded.acting_for, assigned_at = excluded.assigned_at,
    due_at = excluded.due_at, is_stranded = excluded.is_stranded, status = excluded.status,
    closing = excluded.closing, closed_at = excluded.closed_at, decision = excluded.decision,
    decided_by = excluded.decided_by, via = excluded.via, content_hash = excluded.content_hash,
    opinion = excluded.opinion, decided_at = excluded.decided_at, automatic = excluded.automatic
WHERE task.status IN ('waiting', 'open')
"""


async def save_tasks(tx: Tx, changed: Sequence[tuple[Place, Task]]) -> None:
    """New ones, and what became of those that waited; a task that has ended changes no more."""
    if changed:
        documents, revisions = zip(*(place for place, _ in changed), strict=True)
        tasks = json.encode([task for _, task in changed])
        await tx.execute(_SAVE_TASKS, documents, revisions, tasks)


async def add_acts(tx: Tx, done: Sequence[ApprovalActed]) -> None:
    await tx.executemany(
        "INSERT INTO act (document_id, revision, task_id, verb, acted_by, via, targets, to_step,"
        " text, acted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [
            (
                *(one.document_id, one.revision, one.task_id, one.verb.value, one.by, one.via),
                *(list(one.targets), one.to_step, one.text, one.acted_at),
            )
            for one in done
        ],
    )
