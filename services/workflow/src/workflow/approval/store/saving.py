"""What a change of approvals writes, in a number of statements that does not grow with them."""

from collections.abc import Sequence
from datetime import datetime

from chassis import Tx
from events.workflow import ApprovalActed

from workflow.approval.domain import Approval, Task
from workflow.approval.store.rows import BACK, DETAILS, REASONS, ROUTE, Place, columns


async def add_approvals(tx: Tx, new: Sequence[Approval], at: datetime) -> None:
    """New approvals without their tasks."""
    await tx.execute(
        "INSERT INTO approval (document_id, revision, kind, definition, mode, tenant, submitter_id,"
        " title, amount, currency, content_hash, details, route, reasons, automatic, status,"
        " requested_at)"
        " SELECT *, $17::timestamptz FROM unnest($1::text[], $2::int[], $3::text[], $4::text[],"
        " $5::text[], $6::text[], $7::text[], $8::text[], $9::numeric[], $10::text[], $11::text[],"
        " $12::jsonb[], $13::jsonb[], $14::jsonb[], $15::text[], $16::text[])",
        *columns(new, "document_id", "revision", "kind", "definition", "mode", "tenant"),
        *columns(new, "submitter_id", "title"),
        [one.total.amount for one in new],
        [one.total.currency for one in new],
        *columns(new, "content_hash"),
        [DETAILS.dump_json(one.details).decode() for one in new],
        [ROUTE.dump_json(one.route).decode() for one in new],
        [REASONS.dump_json(one.reasons).decode() for one in new],
        *columns(new, "automatic", "status"),
        at,
    )


async def save_approvals(tx: Tx, changed: Sequence[Approval]) -> None:
    """Status, route and where it goes back to, of approvals whose rows are locked."""
    await tx.execute(
        "UPDATE approval a SET status = n.status, route = n.route, back = n.back"
        " FROM unnest($1::text[], $2::int[], $3::text[], $4::jsonb[], $5::jsonb[])"
        "  AS n (document_id, revision, status, route, back)"
        " WHERE a.document_id = n.document_id AND a.revision = n.revision",
        *columns(changed, "document_id", "revision", "status"),
        [ROUTE.dump_json(one.route).decode() for one in changed],
        [None if one.back is None else BACK.dump_json(one.back).decode() for one in changed],
    )


_TASK = """
INSERT INTO task (document_id, revision, task_id, step, round, seat, part, name, assignee_id, rule,
    native, assigned_at, verb, acting_for, added_by, due_at, is_stranded, status, closing,
    closed_at, decision, decided_by, via, content_hash, opinion, decided_at, automatic)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::int[], $6::int[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::bool[], $12::timestamptz[], $13::text[],
    $14::text[], $15::text[], $16::timestamptz[], $17::bool[], $18::text[], $19::text[],
    $20::timestamptz[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
    $26::timestamptz[], $27::text[])
ON CONFLICT (task_id) DO UPDATE SET
    assignee_id = excluded.assignee_id, rule = excluded.rule, verb = excluded.verb,
    acting_for = excluded.acting_for, assigned_at = excluded.assigned_at,
    due_at = excluded.due_at, is_stranded = excluded.is_stranded, status = excluded.status,
    closing = excluded.closing, closed_at = excluded.closed_at, decision = excluded.decision,
    decided_by = excluded.decided_by, via = excluded.via, content_hash = excluded.content_hash,
    opinion = excluded.opinion, decided_at = excluded.decided_at, automatic = excluded.automatic
WHERE task.status IN ('waiting', 'open')
"""
_TASK_COLUMNS = (
    *("task_id", "step", "round", "seat", "part", "name", "assignee_id", "rule", "native"),
    *("assigned_at", "verb", "acting_for", "added_by", "due_at", "is_stranded", "status"),
    *("closing", "closed_at", "decision", "decided_by", "via", "content_hash", "opinion"),
    *("decided_at", "automatic"),
)


async def save_tasks(tx: Tx, changed: Sequence[tuple[Place, Task]]) -> None:
    """New ones, and what became of those that waited; a task that has ended changes no more."""
    if changed:
        await tx.execute(
            _TASK,
            [document for (document, _), _ in changed],
            [revision for (_, revision), _ in changed],
            *columns([task for _, task in changed], *_TASK_COLUMNS),
        )


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
