"""All SQL of workflow, one function per question."""

import json
from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record
from chassis import Tx
from events import DepartmentId, DocumentId, EmployeeId, Money, TaskId, TenantId
from events.directory import (
    DepartmentStatus,
    DepartmentUpdated,
    EmployeeUpdated,
    EmploymentStatus,
)
from events.workflow import Decision, DocumentKind, Mode
from pydantic import TypeAdapter

from workflow.domain import (
    ADMINISTRATOR,
    TONGLU,
    Approval,
    Definition,
    Department,
    Directory,
    Person,
    PlannedStep,
    Status,
    Task,
    TaskStatus,
    Waiting,
)

_ROUTE = TypeAdapter(tuple[PlannedStep, ...])


async def lock_definitions(tx: Tx) -> None:
    """Processes that start together import one after the other; reading goes on meanwhile."""
    await tx.execute("LOCK TABLE definition IN SHARE ROW EXCLUSIVE MODE")


async def definition(tx: Tx, id_: str, version: int) -> Definition | None:
    """What was imported under this id and version."""
    found = await tx.fetchval(
        "SELECT document FROM definition WHERE id = $1 AND version = $2", id_, version
    )
    return Definition.model_validate_json(found) if found is not None else None


async def definition_of(tx: Tx, kind: DocumentKind) -> Definition | None:
    """The definition in force for documents of this kind: the highest version."""
    found = await tx.fetchval(
        "SELECT document FROM definition WHERE document ->> 'kind' = $1"
        " ORDER BY version DESC LIMIT 1",
        kind.value,
    )
    return Definition.model_validate_json(found) if found is not None else None


async def add_definition(tx: Tx, new: Definition) -> None:
    await tx.execute(
        "INSERT INTO definition (id, version, document) VALUES ($1, $2, $3)",
        *(new.id, new.version, new.model_dump_json()),
    )


async def save_people(tx: Tx, people: Sequence[EmployeeUpdated]) -> None:
    """Whole states; of several for one person the last counts."""
    latest = list({person.employee_id: person for person in people}.values())
    await tx.execute(
        "INSERT INTO employee (employee_id, department_id, manager_id, roles, is_active)"
        " SELECT e, d, m, ARRAY(SELECT json_array_elements_text(r::json)), a"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[])"
        "   AS n (e, d, m, r, a)"
        " ON CONFLICT (employee_id) DO UPDATE SET department_id = excluded.department_id,"
        " manager_id = excluded.manager_id, roles = excluded.roles, is_active = excluded.is_active",
        [person.employee_id for person in latest],
        [person.department_id for person in latest],
        [person.manager_id for person in latest],
        [json.dumps(person.roles) for person in latest],
        [person.status is EmploymentStatus.ACTIVE for person in latest],
    )


async def save_departments(tx: Tx, departments: Sequence[DepartmentUpdated]) -> None:
    """Whole states; of several for one department the last counts. A closed one has no head."""
    latest = list({one.department_id: one for one in departments}.values())
    await tx.execute(
        "INSERT INTO department (department_id, parent_id, head_id)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[])"
        " ON CONFLICT (department_id) DO UPDATE SET parent_id = excluded.parent_id,"
        " head_id = excluded.head_id",
        [one.department_id for one in latest],
        [one.parent_id for one in latest],
        [one.head_id if one.status is DepartmentStatus.ACTIVE else None for one in latest],
    )


# UNION, not UNION ALL: a circle among departments ends by itself.
_AROUND = """
WITH RECURSIVE person AS (
    SELECT employee_id, manager_id, department_id FROM employee WHERE employee_id = $1
), above AS (
    SELECT d.department_id, d.parent_id, d.head_id
      FROM department d JOIN person USING (department_id)
    UNION
    SELECT d.department_id, d.parent_id, d.head_id
      FROM department d JOIN above ON d.department_id = above.parent_id
)
SELECT 'person' AS what, e.employee_id AS id, e.department_id AS up, e.manager_id AS by,
       e.roles, e.is_active
  FROM employee e
 WHERE e.employee_id IN (SELECT employee_id FROM person UNION SELECT manager_id FROM person
                         UNION SELECT head_id FROM above)
    OR e.roles && $2::text[]
UNION ALL
SELECT 'department', department_id, parent_id, head_id, NULL, NULL FROM above
"""


async def directory_around(tx: Tx, id_: EmployeeId, roles: Sequence[str]) -> Directory:
    """A person with manager and departments up to the top, and who holds these roles."""
    rows = await tx.fetch(_AROUND, id_, [*roles, ADMINISTRATOR])
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


async def is_here(tx: Tx, id_: EmployeeId) -> bool:
    """Whether this person is known and works here."""
    found = await tx.fetchval("SELECT is_active FROM employee WHERE employee_id = $1", id_)
    return bool(found)


async def add_approval(tx: Tx, approval: Approval, now: datetime) -> None:
    await tx.execute(
        "INSERT INTO approval (document_id, revision, kind, definition, mode, tenant, submitter_id,"
        " title, amount, currency, content_hash, route, status, requested_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        *(approval.document_id, approval.revision, approval.kind.value, approval.definition),
        *(approval.mode.value, approval.tenant, approval.submitter_id, approval.title),
        *(approval.total.amount, approval.total.currency, approval.content_hash),
        *(_ROUTE.dump_json(approval.route).decode(), approval.status.value, now),
    )
    await _save_tasks(tx, approval)


async def save_approval(tx: Tx, approval: Approval) -> None:
    """Its status, its route and its tasks; a task that is not open does not change any more."""
    await tx.execute(
        "UPDATE approval SET status = $3, route = $4 WHERE document_id = $1 AND revision = $2",
        *(approval.document_id, approval.revision, approval.status.value),
        _ROUTE.dump_json(approval.route).decode(),
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


async def latest_approval(tx: Tx, id_: DocumentId, reader: EmployeeId | None) -> Approval | None:
    """The last revision's, if the reader takes part in it; `reader` None: one who sees all."""
    row = await tx.fetchrow(
        "SELECT * FROM approval a WHERE document_id = $1"
        " AND revision = (SELECT max(revision) FROM approval WHERE document_id = $1)"
        " AND ($2::text IS NULL OR submitter_id = $2"
        "  OR EXISTS (SELECT FROM jsonb_array_elements(route) s"
        "              WHERE s -> 'found' ->> 'approver_id' = $2)"
        "  OR EXISTS (SELECT FROM task t WHERE t.document_id = $1 AND t.revision = a.revision"
        "              AND t.assignee_id = $2))",
        *(id_, reader),
    )
    return await _approval(tx, row) if row is not None else None


async def places_of_leavers(tx: Tx) -> list[tuple[DocumentId, int]]:
    """Where people who are not here any more are still asked in Tonglu."""
    rows = await tx.fetch(
        "SELECT DISTINCT t.document_id, t.revision"
        " FROM task t JOIN employee e ON e.employee_id = t.assignee_id AND NOT e.is_active"
        " WHERE t.status = 'open' AND t.native ORDER BY 1, 2"
    )
    return [(DocumentId(row["document_id"]), row["revision"]) for row in rows]


async def place_of_task(tx: Tx, id_: TaskId, assignee: EmployeeId) -> tuple[DocumentId, int] | None:
    """The approval of a task, if it is or was this person's."""
    row = await tx.fetchrow(
        "SELECT document_id, revision FROM task WHERE task_id = $1 AND assignee_id = $2",
        *(id_, assignee),
    )
    return (DocumentId(row["document_id"]), row["revision"]) if row is not None else None


_INBOX = """
SELECT t.task_id, t.document_id, t.revision, t.step, t.name AS step_name, t.assigned_at,
       a.route -> (t.step - 1) -> 'found' ->> 'rule' AS rule, a.title, a.amount, a.currency,
       a.submitter_id, a.content_hash, CASE WHEN t.native THEN $4 ELSE a.tenant END AS decide_in
  FROM task t JOIN approval a USING (document_id, revision)
 WHERE t.assignee_id = $1 AND t.status = 'open'
   AND ($2::text IS NULL OR (t.assigned_at, t.task_id) >
        (SELECT b.assigned_at, b.task_id FROM task b WHERE b.task_id = $2 AND b.assignee_id = $1))
 ORDER BY t.assigned_at, t.task_id LIMIT $3
"""


async def inbox(tx: Tx, person: EmployeeId, after: TaskId | None, limit: int) -> list[Waiting]:
    """A page of a person's open tasks with what they are about, oldest first."""
    return [
        Waiting(total=Money(amount=row.pop("amount"), currency=row.pop("currency")), **row)
        for row in map(dict, await tx.fetch(_INBOX, person, after, limit, TONGLU))
    ]


async def _approval(tx: Tx, row: Record) -> Approval:
    tasks = await tx.fetch(
        "SELECT * FROM task WHERE document_id = $1 AND revision = $2"
        " ORDER BY step, assigned_at, task_id",
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
        route=_ROUTE.validate_json(row["route"]),
        tasks=tuple(_task(task) for task in tasks),
        status=Status(row["status"]),
    )


def _task(row: Record) -> Task:
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
