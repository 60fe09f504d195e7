"""Approvals to be changed: locked in one order, by document and revision."""

from collections.abc import Collection

from chassis import Tx
from events import DocumentId, EmployeeId, TaskId

from workflow.approval.domain import Approval, Place
from workflow.approval.store.rows import with_tasks


async def approvals_for_change(tx: Tx, places: Collection[Place]) -> dict[Place, Approval]:
    """These approvals with their tasks, locked in one order until the transaction ends."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE (document_id, revision) IN"
        " (SELECT * FROM unnest($1::text[], $2::int[]))"
        " ORDER BY document_id, revision FOR UPDATE",
        [document for document, _ in places],
        [revision for _, revision in places],
    )
    return await with_tasks(tx, rows)


async def lock_approvals(tx: Tx, places: Collection[Place]) -> None:
    """Lock these, in the one order, for whoever changes them one after the other."""
    await tx.execute(
        "SELECT FROM approval WHERE (document_id, revision) IN"
        " (SELECT * FROM unnest($1::text[], $2::int[]))"
        " ORDER BY document_id, revision FOR UPDATE",
        [document for document, _ in places],
        [revision for _, revision in places],
    )


async def latest_for_change(tx: Tx, ids: Collection[DocumentId]) -> dict[DocumentId, Approval]:
    """The last revision of each document, locked in one order."""
    rows = await tx.fetch(
        "SELECT a.* FROM approval a JOIN (SELECT document_id, max(revision) AS revision"
        "  FROM approval WHERE document_id = ANY($1::text[]) GROUP BY document_id) l"
        " USING (document_id, revision) ORDER BY a.document_id FOR UPDATE OF a",
        list(ids),
    )
    return {id_: approval for (id_, _), approval in (await with_tasks(tx, rows)).items()}


async def approvals_of_tasks(tx: Tx, ids: Collection[TaskId]) -> dict[Place, Approval]:
    """The approvals that these tasks belong to, locked in one order."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE (document_id, revision) IN"
        " (SELECT document_id, revision FROM task WHERE task_id = ANY($1::text[]))"
        " ORDER BY document_id, revision FOR UPDATE",
        list(ids),
    )
    return await with_tasks(tx, rows)


async def approvals_asking(
    tx: Tx, people: Collection[EmployeeId], *, or_stranded: bool = False
) -> dict[Place, Approval]:
    """Where these people are asked in Tonglu now; or, if asked for, what no one could take."""
    places = await tx.fetch(
        "SELECT document_id, revision FROM task"
        " WHERE status = 'open' AND native AND assignee_id = ANY($1::text[])"
        " UNION SELECT document_id, revision FROM task"
        " WHERE $2 AND status = 'open' AND is_stranded",
        *(list(people), or_stranded),
    )
    return await approvals_for_change(tx, [(one[0], one[1]) for one in places])


async def assignees(tx: Tx) -> set[EmployeeId]:
    """Everyone who is asked in Tonglu now."""
    rows = await tx.fetch("SELECT DISTINCT assignee_id FROM task WHERE status = 'open' AND native")
    return {EmployeeId(row["assignee_id"]) for row in rows}
