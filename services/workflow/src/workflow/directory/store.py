"""All SQL about people, departments and cost centres, one function per question."""

import json
from collections.abc import Collection, Sequence

from chassis import Tx
from events import DepartmentId, EmployeeId
from events.directory import (
    DepartmentStatus,
    DepartmentUpdated,
    EmployeeUpdated,
    EmploymentStatus,
)

from workflow.directory.domain import CostCentre, Department, Directory, Person


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


# UNION, not UNION ALL: a circle of managers or of departments ends by itself, and whoever is found
# twice is read once. LATERAL with LIMIT 1 is a look-up by key for each row: PostgreSQL cannot guess
# how far a recursion goes, and would read the whole company instead.
_AROUND = """
WITH RECURSIVE line AS (
    SELECT employee_id, department_id, manager_id, roles, is_active
      FROM employee WHERE employee_id = ANY($1::text[])
    UNION
    SELECT e.* FROM line l CROSS JOIN LATERAL (
        SELECT employee_id, department_id, manager_id, roles, is_active
          FROM employee WHERE employee_id = l.manager_id LIMIT 1) AS e
), above AS (
    SELECT d.* FROM (SELECT DISTINCT department_id FROM line WHERE employee_id = ANY($1)) AS own
     CROSS JOIN LATERAL (
        SELECT department_id, parent_id, head_id
          FROM department WHERE department_id = own.department_id LIMIT 1) AS d
    UNION
    SELECT d.* FROM above a CROSS JOIN LATERAL (
        SELECT department_id, parent_id, head_id
          FROM department WHERE department_id = a.parent_id LIMIT 1) AS d
), owned AS (
    SELECT id, owner_id FROM cost_centre WHERE id = ANY($3::text[])
), named AS (
    SELECT head_id AS id FROM above UNION SELECT owner_id FROM owned
), people AS (
    SELECT * FROM line
    UNION
    SELECT e.* FROM named CROSS JOIN LATERAL (
        SELECT employee_id, department_id, manager_id, roles, is_active
          FROM employee WHERE employee_id = named.id LIMIT 1) AS e
    UNION
    SELECT employee_id, department_id, manager_id, roles, is_active
      FROM employee WHERE roles && $2::text[]
)
SELECT 'person' AS what, employee_id AS id, department_id AS up, manager_id AS by, roles, is_active
  FROM people
UNION ALL
SELECT 'department', department_id, parent_id, head_id, NULL, NULL FROM above
UNION ALL
SELECT 'cost_centre', id, NULL, owner_id, NULL, NULL FROM owned
"""


async def directory_around(
    tx: Tx, ids: Collection[EmployeeId], roles: Collection[str], cost_centres: Collection[str]
) -> Directory:
    """These people with the line and the departments above them, holders and owners."""
    rows = await tx.fetch(_AROUND, list(ids), list(roles), list(cost_centres))
    people: dict[EmployeeId, Person] = {}
    departments: dict[DepartmentId, Department] = {}
    owners: dict[str, EmployeeId] = {}
    for what, id_, up, by, held, is_active in rows:
        if what == "person":
            people[id_] = Person(id_, up, by, frozenset(held), is_active)
        elif what == "department":
            departments[id_] = Department(id_, up, by)
        else:
            owners[id_] = by
    return Directory(people, departments, owners)


async def cost_centres(tx: Tx) -> list[CostCentre]:
    """All, in the order of their ids."""
    rows = await tx.fetch("SELECT id, owner_id FROM cost_centre ORDER BY id")
    return [CostCentre(row["id"], EmployeeId(row["owner_id"])) for row in rows]


async def save_cost_centres(tx: Tx, all_of_them: Sequence[CostCentre], by: EmployeeId) -> None:
    """These and no others; who changed one last, and when, stays with it."""
    ids = [one.id for one in all_of_them]
    await tx.execute("DELETE FROM cost_centre WHERE id <> ALL($1::text[])", ids)
    await tx.execute(
        "INSERT INTO cost_centre AS c (id, owner_id, changed_by, changed_at)"
        " SELECT n.*, $3, $4 FROM unnest($1::text[], $2::text[]) AS n"
        " ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id,"
        " changed_by = excluded.changed_by, changed_at = excluded.changed_at"
        " WHERE c.owner_id <> excluded.owner_id",
        *(ids, [one.owner_id for one in all_of_them], by, tx.now),
    )
