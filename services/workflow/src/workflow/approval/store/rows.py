"""How an approval and its tasks lie in their tables."""

import json
from collections.abc import Sequence

from asyncpg import Record
from chassis import Tx
from events import DocumentId, EmployeeId, Money, TaskId, TenantId
from events.workflow import Closing, Decision, DocumentKind, Mode, Verb
from msgspec import convert
from msgspec.json import Decoder

from workflow.approval.domain import Approval, Back, Part, Place, Status, Task, TaskStatus
from workflow.definition.domain import PlannedStep, Reason

_DETAILS = Decoder(tuple[str, ...])
_ROUTE = Decoder(tuple[PlannedStep, ...])
_REASONS = Decoder(tuple[Reason, ...])
_BACK = Decoder(Back)
_FIRST_RELEASE = '"found": {'  # a route as release 0.1 wrote it: one person a step, no id


def columns(rows: Sequence[object], *names: str) -> list[list[object]]:
    """One list a column; an enumeration is a string as it is."""
    return [[getattr(row, name) for row in rows] for name in names]


async def with_tasks(tx: Tx, rows: Sequence[Record]) -> dict[Place, Approval]:
    if not rows:
        return {}
    tasks: dict[Place, list[Task]] = {(row["document_id"], row["revision"]): [] for row in rows}
    found = await tx.fetch(
        "SELECT t.* FROM task t JOIN unnest($1::text[], $2::int[]) AS p (document_id, revision)"
        " USING (document_id, revision)",
        [document for document, _ in tasks],
        [revision for _, revision in tasks],
    )
    for row in found:
        tasks[row["document_id"], row["revision"]].append(task(row))
    return {place: approval(row, tasks[place]) for place, row in zip(tasks, rows, strict=True)}


def approval(row: Record, tasks: list[Task]) -> Approval:
    back = row["back"]
    return Approval(
        document_id=DocumentId(row["document_id"]),
        revision=row["revision"],
        kind=DocumentKind(row["kind"]),
        definition=row["definition"],
        mode=Mode(row["mode"]),
        tenant=TenantId(row["tenant"]) if row["tenant"] else None,
        submitter_id=EmployeeId(row["submitter_id"]),
        title=row["title"],
        total=Money(amount=row["amount"], currency=row["currency"]),
        details=_DETAILS.decode(row["details"]),
        content_hash=row["content_hash"],
        route=_read_route(row["route"]),
        reasons=_REASONS.decode(row["reasons"]),
        automatic=row["automatic"],
        tasks=tuple(sorted(tasks, key=lambda task: (task.step, task.number))),
        status=Status(row["status"]),
        back=None if back is None else _BACK.decode(back),
    )


def _read_route(text: str) -> tuple[PlannedStep, ...]:
    if _FIRST_RELEASE not in text:
        return _ROUTE.decode(text)
    steps = [
        step | {"id": f"step-{step['step']}", "found": (step["found"],)}
        for step in json.loads(text)
    ]
    return convert(steps, tuple[PlannedStep, ...])


def task(row: Record) -> Task:
    return Task(
        task_id=TaskId(row["task_id"]),
        step=row["step"],
        round=row["round"],
        seat=row["seat"],
        part=Part(row["part"]),
        name=row["name"],
        assignee_id=EmployeeId(row["assignee_id"]),
        rule=row["rule"],
        native=row["native"],
        assigned_at=row["assigned_at"],
        verb=Verb(row["verb"]) if row["verb"] else None,
        acting_for=row["acting_for"],
        added_by=row["added_by"],
        due_at=row["due_at"],
        is_stranded=row["is_stranded"],
        status=TaskStatus(row["status"]),
        closing=Closing(row["closing"]) if row["closing"] else None,
        closed_at=row["closed_at"],
        decision=Decision(row["decision"]) if row["decision"] else None,
        decided_by=row["decided_by"],
        via=row["via"],
        content_hash=row["content_hash"],
        opinion=row["opinion"],
        decided_at=row["decided_at"],
        automatic=row["automatic"],
    )
