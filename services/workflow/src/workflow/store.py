"""All SQL of workflow, one function per question."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chassis import Tx
from events import DepartmentId, DocumentId, EmployeeId, Money, TaskId, TenantId
from events.directory import DepartmentUpdated, EmployeeUpdated, EmploymentStatus
from events.workflow import Decision, DocumentKind, Mode

from workflow.domain import (
    Approval,
    Definition,
    Department,
    Directory,
    Found,
    Person,
    PlannedStep,
    Status,
    Task,
    TaskStatus,
)


async def definition_document(tx: Tx, id_: str, version: int) -> dict[str, Any] | None:
    """What was imported under this id and version."""
    found = await tx.fetchval(
        "SELECT document FROM definition WHERE id = $1 AND version = $2", id_, version
    )
    return json.loads(found) if found is not None else None


async def add_definition(tx: Tx, definition: Definition) -> None:
    await tx.execute(
        "INSERT INTO definition (id, version, document) VALUES ($1, $2, $3)",
        *(definition.id, definition.version, definition.model_dump_json()),
    )


async def definition_of(tx: Tx, kind: DocumentKind) -> Definition | None:
    """The newest definition for documents of this kind."""
    found = await tx.fetchval(
        "SELECT document FROM definition WHERE document ->> 'kind' = $1"
        " ORDER BY imported_at DESC, version DESC LIMIT 1",
        kind.value,
    )
    return Definition.model_validate_json(found) if found is not None else None


async def save_people(tx: Tx, people: Sequence[EmployeeUpdated]) -> None:
    """Whole states; of several for one person the last counts."""
    latest = list({person.employee_id: person for person in people}.values())
    await tx.execute(
        "INSERT INTO employee (employee_id, department_id, manager_id, roles, is_active)"
        " SELECT e, d, m, string_to_array(r, ','), a"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[])"
        "   AS n (e, d, m, r, a)"
        " ON CONFLICT (employee_id) DO UPDATE SET department_id = excluded.department_id,"
        " manager_id = excluded.manager_id, roles = excluded.roles, is_active = excluded.is_active",
        [person.employee_id for person in latest],
        [person.department_id for person in latest],
        [person.manager_id for person in latest],
        [",".join(person.roles) for person in latest],
        [person.status is EmploymentStatus.ACTIVE for person in latest],
    )


async def save_departments(tx: Tx, departments: Sequence[DepartmentUpdated]) -> None:
    """Whole states; of several for one department the last counts."""
    latest = list({one.department_id: one for one in departments}.values())
    await tx.execute(
        "INSERT INTO department (department_id, parent_id, head_id)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"
        " ON CONFLICT (department_id) DO UPDATE SET parent_id = excluded.parent_id,"
        " head_id = excluded.head_id",
        [one.department_id for one in latest],
        [one.parent_id for one in latest],
        [one.head_id for one in latest],
    )


# UNION, not UNION ALL: a circle in the line ends by itself.
_AROUND = """
WITH RECURSIVE line AS (
    SELECT employee_id, manager_id, department_id FROM employee WHERE employee_id = $1
    UNION
    SELECT e.employee_id, e.manager_id, e.department_id
      FROM employee e JOIN line ON e.employee_id = line.manager_id
), above AS (
    SELECT d.department_id, d.parent_id, d.head_id FROM department d
     WHERE d.department_id = (SELECT department_id FROM employee WHERE employee_id = $1)
    UNION
    SELECT d.department_id, d.parent_id, d.head_id
      FROM department d JOIN above ON d.department_id = above.parent_id
)
SELECT 'person' AS what, e.employee_id AS id, e.department_id AS up, e.manager_id AS by,
       e.roles, e.is_active
  FROM employee e
 WHERE e.employee_id IN (SELECT employee_id FROM line UNION SELECT head_id FROM above)
    OR e.roles && $2::text[]
UNION ALL
SELECT 'department', department_id, parent_id, head_id, NULL, NULL FROM above
"""


async def directory_around(tx: Tx, id_: EmployeeId, roles: Sequence[str]) -> Directory:
    """The submitter's line and departments up to the top, and who holds these roles."""
    rows = await tx.fetch(_AROUND, id_, [*roles, "admin"])
    people = {
        EmployeeId(row["id"]): Person(
            EmployeeId(row["id"]),
            DepartmentId(row["up"]),
            row["by"],
            frozenset(row["roles"]),
            row["is_active"],
        )
        for row in rows
        if row["what"] == "person"
    }
    departments = {
        DepartmentId(row["id"]): Department(DepartmentId(row["id"]), row["up"], row["by"])
        for row in rows
        if row["what"] == "department"
    }
    return Directory(people, departments)


async def is_active(tx: Tx, id_: EmployeeId) -> bool:
    """Whether this person is known and works here."""
    found = await tx.fetchval("SELECT is_active FROM employee WHERE employee_id = $1", id_)
    return bool(found)


async def add_approval(tx: Tx, approval: Approval, now: datetime) -> None:
    route = [
        {
            "step": planned.step,
            "name": planned.name,
            "approver_id": planned.found.approver_id,
            "why": planned.found.why,
            "by_administrator": planned.found.by_administrator,
        }
        for planned in approval.route
    ]
    await tx.execute(
        "INSERT INTO approval (document_id, revision, kind, definition, mode, tenant, submitter_id,"
        " title, amount, currency, content_hash, route, status, requested_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        *(approval.document_id, approval.revision, approval.kind.value, approval.definition),
        *(approval.mode.value, approval.tenant, approval.submitter_id, approval.title),
        *(approval.total.amount, approval.total.currency, approval.content_hash),
        *(json.dumps(route, ensure_ascii=False), approval.status.value, now),
    )
    await _save_tasks(tx, approval)


async def save_approval(tx: Tx, approval: Approval) -> None:
    await tx.execute(
        "UPDATE approval SET status = $3 WHERE document_id = $1 AND revision = $2",
        *(approval.document_id, approval.revision, approval.status.value),
    )
    await _save_tasks(tx, approval)


async def _save_tasks(tx: Tx, approval: Approval) -> None:
    tasks = approval.tasks
    await tx.execute(
        "INSERT INTO task (document_id, revision, task_id, step, name, assignee_id, native, status,"
        " decision, decided_by, via, opinion, assigned_at, decided_at)"
        " SELECT $1, $2, * FROM unnest($3::text[], $4::int[], $5::text[], $6::text[], $7::bool[],"
        " $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[],"
        " $14::timestamptz[])"
        " ON CONFLICT (task_id) DO UPDATE SET status = excluded.status,"
        " decision = excluded.decision, decided_by = excluded.decided_by, via = excluded.via,"
        " opinion = excluded.opinion, decided_at = excluded.decided_at"
        " WHERE task.status = 'open'",
        *(approval.document_id, approval.revision),
        [task.task_id for task in tasks],
        [task.step for task in tasks],
        [task.name for task in tasks],
        [task.assignee_id for task in tasks],
        [task.native for task in tasks],
        [task.status.value for task in tasks],
        [task.decision.value if task.decision else None for task in tasks],
        [task.decided_by for task in tasks],
        [task.via for task in tasks],
        [task.opinion for task in tasks],
        [task.assigned_at for task in tasks],
        [task.decided_at for task in tasks],
    )


async def approval_for_change(tx: Tx, id_: DocumentId, revision: int) -> Approval | None:
    """The approval with its tasks, its row locked until the transaction ends."""
    row = await tx.fetchrow(
        "SELECT * FROM approval WHERE document_id = $1 AND revision = $2 FOR UPDATE", id_, revision
    )
    return await _approval(tx, row) if row is not None else None


async def open_approval_for_change(tx: Tx, id_: DocumentId) -> Approval | None:
    """The revision of this document that is being approved, locked."""
    row = await tx.fetchrow(
        "SELECT * FROM approval WHERE document_id = $1 AND status = 'open' FOR UPDATE", id_
    )
    return await _approval(tx, row) if row is not None else None


async def latest_approval(tx: Tx, id_: DocumentId) -> Approval | None:
    row = await tx.fetchrow(
        "SELECT * FROM approval WHERE document_id = $1 ORDER BY revision DESC LIMIT 1", id_
    )
    return await _approval(tx, row) if row is not None else None


async def open_task_places(tx: Tx, leavers: Sequence[EmployeeId]) -> list[tuple[DocumentId, int]]:
    """Where people who have left are still asked in Tonglu."""
    rows = await tx.fetch(
        "SELECT DISTINCT document_id, revision FROM task"
        " WHERE status = 'open' AND native AND assignee_id = ANY ($1::text[]) ORDER BY 1, 2",
        leavers,
    )
    return [(DocumentId(row["document_id"]), row["revision"]) for row in rows]


async def place_of_task(tx: Tx, id_: TaskId, assignee: EmployeeId) -> tuple[DocumentId, int] | None:
    """The approval of a task, if it is or was this person's."""
    row = await tx.fetchrow(
        "SELECT document_id, revision FROM task WHERE task_id = $1 AND assignee_id = $2",
        *(id_, assignee),
    )
    return (DocumentId(row["document_id"]), row["revision"]) if row is not None else None


async def inbox(
    tx: Tx, person: EmployeeId, after: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    """A page of a person's open tasks with what they are about, oldest first."""
    rows = await tx.fetch(
        "SELECT t.task_id, t.document_id, t.revision, t.step, t.name AS step_name, t.native,"
        " t.assigned_at, a.title, a.amount, a.currency, a.submitter_id, a.content_hash, a.tenant"
        " FROM task t JOIN approval a USING (document_id, revision)"
        " WHERE t.assignee_id = $1 AND t.status = 'open'"
        "   AND ($2::timestamptz IS NULL OR (t.assigned_at, t.task_id) > ($2, $3::text))"
        " ORDER BY t.assigned_at, t.task_id LIMIT $4",
        *(person, after[0] if after else None, after[1] if after else None, limit),
    )
    return [dict(row) for row in rows]


async def _approval(tx: Tx, row: Any) -> Approval:
    tasks = await tx.fetch(
        "SELECT * FROM task WHERE document_id = $1 AND revision = $2 ORDER BY assigned_at, task_id",
        *(row["document_id"], row["revision"]),
    )
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
        content_hash=row["content_hash"],
        route=tuple(_planned(step) for step in json.loads(row["route"])),
        tasks=tuple(_task(task) for task in tasks),
        status=Status(row["status"]),
    )


def _planned(step: dict[str, Any]) -> PlannedStep:
    found = Found(EmployeeId(step["approver_id"]), step["why"], step["by_administrator"])
    return PlannedStep(step["step"], step["name"], found)


def _task(row: Any) -> Task:
    return Task(
        task_id=TaskId(row["task_id"]),
        step=row["step"],
        name=row["name"],
        assignee_id=EmployeeId(row["assignee_id"]),
        native=row["native"],
        assigned_at=row["assigned_at"],
        status=TaskStatus(row["status"]),
        decision=Decision(row["decision"]) if row["decision"] else None,
        decided_by=row["decided_by"],
        via=row["via"],
        opinion=row["opinion"],
        decided_at=row["decided_at"],
    )
