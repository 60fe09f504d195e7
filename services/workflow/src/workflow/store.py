"""All SQL of workflow, one function per question."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chassis import Tx
from events import DepartmentId, DocumentId, EmployeeId, Money, TaskId, TenantId
from events.directory import DepartmentUpdated, EmployeeUpdated, EmploymentStatus
from events.workflow import Decision, DocumentKind, Mode

from workflow.domain.approval import Approval, PlannedStep, Status, Task, TaskStatus, Verdict
from workflow.domain.definition import ADMIN, Definition
from workflow.domain.directory import Department, Directory, Found, Person


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. An administrator also has the tasks of every administrator."""

    person: EmployeeId
    is_admin: bool = False
    sees_all: bool = False


async def definition_document(tx: Tx, id_: str, version: int) -> dict[str, Any] | None:
    """What was imported under this id and version."""
    found = await tx.fetchval(
        "SELECT document FROM definition WHERE id = $1 AND version = $2", id_, version
    )
    return json.loads(found) if found is not None else None


async def add_definition(tx: Tx, definition: Definition) -> None:
    await tx.execute(
        "INSERT INTO definition (id, version, document, imported_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        *(definition.id, definition.version, definition.model_dump_json(), tx.now),
    )


async def definition_in_force(tx: Tx, kind: DocumentKind) -> Definition | None:
    """What was imported last for documents of this kind."""
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
        " SELECT id, department, manager, ARRAY(SELECT jsonb_array_elements_text(roles)), active"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[], $5::bool[])"
        "   AS n (id, department, manager, roles, active)"
        " ON CONFLICT (employee_id) DO UPDATE SET department_id = excluded.department_id,"
        " manager_id = excluded.manager_id, roles = excluded.roles, is_active = excluded.is_active",
        [person.employee_id for person in latest],
        [person.department_id for person in latest],
        [person.manager_id for person in latest],
        [json.dumps(person.roles) for person in latest],
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
    SELECT employee_id, manager_id, department_id FROM employee WHERE employee_id = ANY ($1)
    UNION
    SELECT e.employee_id, e.manager_id, e.department_id
      FROM employee e JOIN line ON e.employee_id = line.manager_id
), above AS (
    SELECT d.department_id, d.parent_id, d.head_id FROM department d
     WHERE d.department_id IN (SELECT department_id FROM employee WHERE employee_id = ANY ($1))
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


async def directory_around(
    tx: Tx, people: Sequence[EmployeeId], roles: Iterable[str] = ()
) -> Directory:
    """Their lines and departments up to the top; who holds these roles; the administrators."""
    rows = await tx.fetch(_AROUND, people, [*roles, ADMIN])
    found = {
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
    return Directory(found, departments)


async def is_employee(tx: Tx, id_: EmployeeId) -> bool:
    """Whether this person is known and works here."""
    found = await tx.fetchval("SELECT is_active FROM employee WHERE employee_id = $1", id_)
    return bool(found)


async def add_approvals(tx: Tx, approvals: Sequence[Approval]) -> None:
    """New ones, with their tasks."""
    await tx.execute(
        "INSERT INTO approval (document_id, revision, kind, definition, mode, tenant, submitter_id,"
        " title, amount, currency, details, content_hash, route, status, requested_at, changed_at)"
        " SELECT *, $15, $15 FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[],"
        " $6::text[], $7::text[], $8::text[], $9::numeric[], $10::text[], $11::jsonb[],"
        " $12::text[], $13::jsonb[], $14::text[])",
        [one.document_id for one in approvals],
        [one.revision for one in approvals],
        [one.kind.value for one in approvals],
        [one.definition for one in approvals],
        [one.mode.value for one in approvals],
        [one.tenant for one in approvals],
        [one.submitter_id for one in approvals],
        [one.title for one in approvals],
        [one.total.amount for one in approvals],
        [one.total.currency for one in approvals],
        [json.dumps(one.details, ensure_ascii=False) for one in approvals],
        [one.content_hash for one in approvals],
        [json.dumps([_row(step) for step in one.route], ensure_ascii=False) for one in approvals],
        [one.status.value for one in approvals],
        tx.now,
    )
    await _save_tasks(tx, approvals)


async def save_approval(tx: Tx, approval: Approval) -> None:
    """What a move has changed; its row is locked by whoever loaded it."""
    await tx.execute(
        "UPDATE approval SET mode = $3, status = $4, changed_at = $5"
        " WHERE document_id = $1 AND revision = $2",
        *(approval.document_id, approval.revision, approval.mode.value, approval.status.value),
        tx.now,
    )
    await _save_tasks(tx, [approval])


async def _save_tasks(tx: Tx, approvals: Sequence[Approval]) -> None:
    """What was decided stays as it is, whatever comes later."""
    pairs = [(approval, task) for approval in approvals for task in approval.tasks]
    verdicts = [task.verdict for _, task in pairs]
    await tx.execute(
        "INSERT INTO task (document_id, revision, task_id, step, name, assignee_id, rule,"
        " for_administrator, assigned_at, status, decision, decided_by, via, opinion, decided_at)"
        " SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::text[],"
        " $6::text[], $7::text[], $8::bool[], $9::timestamptz[], $10::text[], $11::text[],"
        " $12::text[], $13::text[], $14::text[], $15::timestamptz[])"
        " ON CONFLICT (task_id) DO UPDATE SET status = excluded.status,"
        " decision = excluded.decision, decided_by = excluded.decided_by, via = excluded.via,"
        " opinion = excluded.opinion, decided_at = excluded.decided_at"
        " WHERE task.status = 'open'",
        [approval.document_id for approval, _ in pairs],
        [approval.revision for approval, _ in pairs],
        [task.task_id for _, task in pairs],
        [task.step for _, task in pairs],
        [task.name for _, task in pairs],
        [task.found.approver_id for _, task in pairs],
        [task.found.rule for _, task in pairs],
        [task.found.for_administrator for _, task in pairs],
        [task.assigned_at for _, task in pairs],
        [task.status.value for _, task in pairs],
        [verdict.decision.value if verdict else None for verdict in verdicts],
        [verdict.by if verdict else None for verdict in verdicts],
        [verdict.via if verdict else None for verdict in verdicts],
        [verdict.opinion if verdict else None for verdict in verdicts],
        [verdict.decided_at if verdict else None for verdict in verdicts],
    )


async def approval_for_change(tx: Tx, id_: DocumentId, revision: int) -> Approval | None:
    """The approval with its tasks, its row locked until the transaction ends."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE document_id = $1 AND revision = $2 FOR UPDATE", id_, revision
    )
    return (await _with_tasks(tx, rows))[0] if rows else None


async def approval(tx: Tx, id_: DocumentId, revision: int) -> Approval | None:
    """The approval with its tasks, to look at."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE document_id = $1 AND revision = $2", id_, revision
    )
    return (await _with_tasks(tx, rows))[0] if rows else None


async def open_approvals_for_change(tx: Tx, ids: Sequence[DocumentId]) -> list[Approval]:
    """Of each of these documents the revision that is being approved, locked in one order."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE document_id = ANY ($1) AND status = 'open'"
        " ORDER BY document_id FOR UPDATE",
        ids,
    )
    return await _with_tasks(tx, rows)


async def latest_approval(tx: Tx, id_: DocumentId, viewer: Viewer) -> Approval | None:
    """The newest revision of a document, if the viewer submitted it, is on its route, or sees all.

    An administrator sees all.
    """
    rows = await tx.fetch(
        "SELECT a.* FROM approval a WHERE a.document_id = $1 AND ($3 OR a.submitter_id = $2"
        " OR a.route @> jsonb_build_array(jsonb_build_object('approver_id', $2::text))"
        " OR EXISTS (SELECT FROM task t WHERE t.document_id = a.document_id"
        "   AND t.revision = a.revision AND $2 IN (t.assignee_id, t.decided_by)))"
        " ORDER BY a.revision DESC LIMIT 1",
        *(id_, viewer.person, viewer.sees_all or viewer.is_admin),
    )
    return (await _with_tasks(tx, rows))[0] if rows else None


async def stranded_tasks(tx: Tx) -> list[tuple[DocumentId, int, EmployeeId]]:
    """Where Tonglu still asks someone who does not work here any more: document, revision, whom."""
    rows = await tx.fetch(
        "SELECT t.document_id, t.revision, t.assignee_id"
        "  FROM task t JOIN approval a USING (document_id, revision)"
        "  JOIN employee e ON e.employee_id = t.assignee_id"
        " WHERE t.status = 'open' AND a.mode = 'native' AND NOT e.is_active ORDER BY 1, 2"
    )
    return [(DocumentId(row[0]), row[1], EmployeeId(row[2])) for row in rows]


# A task is the viewer's own, or an administrator's when the viewer is one; never on a document
# of their own.
_IS_MINE = (
    "(t.assignee_id = $2 OR $3 AND t.for_administrator AND EXISTS (SELECT FROM approval a"
    " WHERE a.document_id = t.document_id AND a.revision = t.revision AND a.submitter_id <> $2))"
)


async def place_of_task(tx: Tx, id_: TaskId, viewer: Viewer) -> tuple[DocumentId, int] | None:
    """The approval that a task belongs to, if the task is or was the viewer's."""
    row = await tx.fetchrow(
        f"SELECT document_id, revision FROM task t WHERE task_id = $1 AND {_IS_MINE}",  # noqa: S608
        *(id_, viewer.person, viewer.is_admin),
    )
    return (DocumentId(row["document_id"]), row["revision"]) if row is not None else None


_INBOX = """
WITH mine AS (
    (SELECT task_id FROM task
      WHERE assignee_id = $1 AND status = 'open' AND (assigned_at, task_id) > ($3, $4)
      ORDER BY assigned_at, task_id LIMIT $5)
    UNION
    (SELECT task_id FROM task JOIN approval a USING (document_id, revision)
      WHERE $2 AND for_administrator AND task.status = 'open' AND a.submitter_id <> $1
        AND (assigned_at, task_id) > ($3, $4)
      ORDER BY assigned_at, task_id LIMIT $5)
)
SELECT t.task_id, t.document_id, t.revision, t.step, t.name AS step_name, t.rule, t.assignee_id,
       t.assigned_at, a.title, a.amount, a.currency, a.submitter_id, a.content_hash, a.mode,
       a.tenant
  FROM mine JOIN task t USING (task_id) JOIN approval a USING (document_id, revision)
 ORDER BY t.assigned_at, t.task_id LIMIT $5
"""


async def inbox(
    tx: Tx, viewer: Viewer, after: tuple[datetime, str], limit: int
) -> list[dict[str, Any]]:
    """A page of a person's open tasks with what they are about, oldest first."""
    rows = await tx.fetch(_INBOX, viewer.person, viewer.is_admin, *after, limit)
    return [dict(row) for row in rows]


async def _with_tasks(tx: Tx, rows: Sequence[Any]) -> list[Approval]:
    if not rows:
        return []
    found = await tx.fetch(
        "SELECT t.* FROM task t"
        " JOIN unnest($1::text[], $2::int[]) AS of (document_id, revision)"
        " USING (document_id, revision) ORDER BY t.step, t.assigned_at",
        [row["document_id"] for row in rows],
        [row["revision"] for row in rows],
    )
    tasks: dict[tuple[str, int], list[Any]] = {}
    for task in found:
        tasks.setdefault((task["document_id"], task["revision"]), []).append(task)
    return [_approval(row, tasks.get((row["document_id"], row["revision"]), [])) for row in rows]


def _approval(row: Any, tasks: Sequence[Any]) -> Approval:
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
        details=tuple(json.loads(row["details"])),
        content_hash=row["content_hash"],
        route=tuple(_planned(step) for step in json.loads(row["route"])),
        tasks=tuple(_task(task, row["content_hash"]) for task in tasks),
        status=Status(row["status"]),
    )


def _row(planned: PlannedStep) -> dict[str, Any]:
    return {
        "step": planned.step,
        "name": planned.name,
        "approver_id": planned.found.approver_id,
        "rule": planned.found.rule,
        "for_administrator": planned.found.for_administrator,
    }


def _planned(row: dict[str, Any]) -> PlannedStep:
    found = Found(EmployeeId(row["approver_id"]), row["rule"], row["for_administrator"])
    return PlannedStep(row["step"], row["name"], found)


def _task(row: Any, content_hash: str) -> Task:
    verdict = None
    if row["decision"]:
        verdict = Verdict(
            Decision(row["decision"]),
            EmployeeId(row["decided_by"]),
            row["via"],
            content_hash,
            row["decided_at"],
            row["opinion"],
        )
    return Task(
        task_id=TaskId(row["task_id"]),
        step=row["step"],
        name=row["name"],
        found=Found(EmployeeId(row["assignee_id"]), row["rule"], row["for_administrator"]),
        assigned_at=row["assigned_at"],
        status=TaskStatus(row["status"]),
        verdict=verdict,
    )
