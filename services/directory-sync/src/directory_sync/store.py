"""All SQL of directory-sync."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from chassis import Tx
from events import DepartmentId, EmployeeId
from events.directory import DepartmentUpdated, EmployeeUpdated

from directory_sync.domain.plan import Known, Plan
from directory_sync.domain.snapshot import Department, Finding, Person

_ONE_RUN = 5_219_770_312_866_041_903  # any constant: the advisory lock of a run


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt to bring the directory up to its source."""

    run_by: str
    source: str
    source_digest: str
    result: str = "refused"
    plan_digest: str | None = None
    forced: bool = False
    reason: str | None = None  # the name of the refusal
    counts: Mapping[str, int] | None = None
    problems: Sequence[Mapping[str, Any]] = ()
    run_at: datetime | None = None  # None until it is recorded

    def came_to(self, result: str, *, plan: Plan, forced: bool) -> Self:
        """The same run with its result."""
        return replace(
            self, result=result, plan_digest=plan.digest, counts=plan.counts, forced=forced
        )

    def refused(self, reason: str, findings: Sequence[Finding]) -> Self:
        """The same run, refused; of each finding its place and rule, and no value of the source."""
        places = [
            {"file": it.file, "line": it.line, "field": it.field, "rule": it.rule}
            for it in findings
        ]
        return replace(self, result="refused", reason=reason, problems=places)


async def lock_directory(tx: Tx) -> bool:
    """Whether this transaction is now the only one that changes the directory."""
    locked: bool = await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", _ONE_RUN)
    return locked


async def known(tx: Tx) -> Known:
    """The whole directory, in two statements."""
    people = await tx.fetch("SELECT * FROM employee ORDER BY employee_id")
    departments = await tx.fetch("SELECT * FROM department ORDER BY department_id")
    return Known(
        people={
            EmployeeId(row["employee_id"]): Person(
                employee_id=EmployeeId(row["employee_id"]),
                name=row["name"],
                email=row["email"],
                department_id=DepartmentId(row["department_id"]),
                manager_id=row["manager_id"],
                roles=tuple(row["roles"]),
                language=row["language"],
            )
            for row in people
        },
        departments={
            DepartmentId(row["department_id"]): Department(
                department_id=DepartmentId(row["department_id"]),
                name=row["name"],
                parent_id=row["parent_id"],
                head_id=row["head_id"],
            )
            for row in departments
        },
        left=frozenset(row["employee_id"] for row in people if row["status"] == "left"),
        closed=frozenset(row["department_id"] for row in departments if row["status"] == "closed"),
    )


async def save_employees(tx: Tx, people: Sequence[EmployeeUpdated]) -> None:
    """Write every state in one statement; roles travel joined, since rows of arrays must align."""
    await tx.execute(
        "INSERT INTO employee (employee_id, name, email, department_id, manager_id, roles,"
        " language, status, updated_at)"
        " SELECT id, name, email, department, manager, string_to_array(roles, ';'), language,"
        " status, $9 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
        " $6::text[], $7::text[], $8::text[])"
        " AS e (id, name, email, department, manager, roles, language, status)"
        " ON CONFLICT (employee_id) DO UPDATE SET name = excluded.name, email = excluded.email,"
        " department_id = excluded.department_id, manager_id = excluded.manager_id,"
        " roles = excluded.roles, language = excluded.language, status = excluded.status,"
        " updated_at = excluded.updated_at",
        [it.employee_id for it in people],
        [it.name for it in people],
        [it.email for it in people],
        [it.department_id for it in people],
        [it.manager_id for it in people],
        [";".join(it.roles) for it in people],
        [it.language for it in people],
        [it.status.value for it in people],
        tx.now,
    )


async def save_departments(tx: Tx, departments: Sequence[DepartmentUpdated]) -> None:
    """Write every state in one statement."""
    await tx.execute(
        "INSERT INTO department (department_id, name, parent_id, head_id, status, updated_at)"
        " SELECT id, name, parent, head, status, $6"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"
        " AS d (id, name, parent, head, status)"
        " ON CONFLICT (department_id) DO UPDATE SET name = excluded.name,"
        " parent_id = excluded.parent_id, head_id = excluded.head_id, status = excluded.status,"
        " updated_at = excluded.updated_at",
        [it.department_id for it in departments],
        [it.name for it in departments],
        [it.parent_id for it in departments],
        [it.head_id for it in departments],
        [it.status.value for it in departments],
        tx.now,
    )


async def add_run(tx: Tx, run: Run) -> int:
    """Record the attempt; its number."""
    number: int = await tx.fetchval(
        "INSERT INTO sync_run (run_at, run_by, source, source_digest, plan_digest, forced, result,"
        " reason, counts, problems) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " RETURNING run_id",
        tx.now,
        run.run_by,
        run.source,
        run.source_digest,
        run.plan_digest,
        run.forced,
        run.result,
        run.reason,
        json.dumps(run.counts or {}),
        json.dumps(list(run.problems), ensure_ascii=False),
    )
    return number


async def last_run(tx: Tx) -> Run | None:
    """The last attempt, whatever came of it."""
    row = await tx.fetchrow("SELECT * FROM sync_run ORDER BY run_id DESC LIMIT 1")
    if row is None:
        return None
    return Run(
        run_by=row["run_by"],
        source=row["source"],
        source_digest=row["source_digest"],
        result=row["result"],
        plan_digest=row["plan_digest"],
        forced=row["forced"],
        reason=row["reason"],
        counts=json.loads(row["counts"]),
        problems=json.loads(row["problems"]),
        run_at=row["run_at"],
    )


async def in_step_since(tx: Tx) -> datetime | None:
    """When the directory last said what its source said."""
    at: datetime | None = await tx.fetchval(
        "SELECT max(run_at) FROM sync_run WHERE result <> 'refused'"
    )
    return at


async def head_count(tx: Tx) -> Mapping[str, int]:
    """People and departments by status."""
    row = await tx.fetchrow(
        "SELECT (SELECT count(*) FROM employee WHERE status = 'active') AS active,"
        " (SELECT count(*) FROM employee WHERE status = 'left') AS left,"
        " (SELECT count(*) FROM department WHERE status = 'active') AS departments,"
        " (SELECT count(*) FROM department WHERE status = 'closed') AS departments_closed"
    )
    return dict(row or {})
