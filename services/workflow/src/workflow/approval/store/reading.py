"""What people may read: an inbox, a whole approval, what was done besides deciding."""

from datetime import datetime

from asyncpg import Record
from chassis import Tx
from events import ContentHash, DocumentId, EmployeeId, Money, TaskId
from events.workflow import Verb
from msgspec import Struct

from workflow.approval.domain import TONGLU, Approval, Part, Place, Waiting
from workflow.approval.store.rows import with_tasks


async def of_document(
    tx: Tx, id_: DocumentId, reader: EmployeeId | None, revision: int | None = None
) -> Approval | None:
    """One revision's, the last by default, if the reader takes part in it or in a later one.

    `reader` None: one who sees all.
    """
    rows = await tx.fetch(
        "SELECT * FROM approval a WHERE document_id = $1 AND revision ="
        "  coalesce($3, (SELECT max(revision) FROM approval WHERE document_id = $1))"
        " AND ($2::text IS NULL OR submitter_id = $2"
        "  OR EXISTS (SELECT FROM approval b,"
        "               jsonb_path_query(b.route, '$[*].found[*].approver_id') p"
        "              WHERE b.document_id = $1 AND b.revision >= a.revision AND p #>> '{}' = $2)"
        "  OR EXISTS (SELECT FROM task t WHERE t.document_id = $1 AND t.revision >= a.revision"
        "              AND $2 IN (t.assignee_id, t.acting_for))"
        "  OR EXISTS (SELECT FROM act c WHERE c.document_id = $1 AND c.revision >= a.revision"
        "              AND c.verb = 'copy' AND $2 = ANY (c.targets)))",
        *(id_, reader, revision),
    )
    return next(iter((await with_tasks(tx, rows)).values()), None)


async def revision_with(tx: Tx, id_: DocumentId, content: ContentHash) -> Approval | None:
    """The last revision of the document that had this content."""
    rows = await tx.fetch(
        "SELECT * FROM approval WHERE document_id = $1 AND content_hash = $2"
        " ORDER BY revision DESC LIMIT 1",
        *(id_, content),
    )
    return next(iter((await with_tasks(tx, rows)).values()), None)


async def of_task(tx: Tx, id_: TaskId) -> Approval | None:
    """The approval that this task belongs to, as it stands."""
    rows = await tx.fetch(
        "SELECT a.* FROM approval a JOIN task t USING (document_id, revision) WHERE t.task_id = $1",
        id_,
    )
    return next(iter((await with_tasks(tx, rows)).values()), None)


async def is_copied(tx: Tx, place: Place, person: EmployeeId) -> bool:
    """Whether this person was sent a copy."""
    found = await tx.fetchval(
        "SELECT true FROM act WHERE document_id = $1 AND revision = $2"
        " AND verb = 'copy' AND $3 = ANY (targets) LIMIT 1",
        *(*place, person),
    )
    return bool(found)


async def last_urged(tx: Tx, place: Place, id_: TaskId) -> datetime | None:
    """When someone last urged this task."""
    at: datetime | None = await tx.fetchval(
        "SELECT max(acted_at) FROM act WHERE document_id = $1 AND revision = $2"
        " AND task_id = $3 AND verb = 'urge'",
        *(*place, id_),
    )
    return at


class DoneAct(Struct, frozen=True):
    """What someone, or a rule, did besides deciding."""

    task_id: TaskId | None
    verb: Verb
    acted_by: EmployeeId | None
    via: str
    targets: tuple[EmployeeId, ...]
    to_step: int | None
    text: str | None
    acted_at: datetime


async def acts(tx: Tx, place: Place) -> list[DoneAct]:
    """All that was done besides deciding, in order."""
    rows = await tx.fetch(
        "SELECT task_id, verb, acted_by, via, targets, to_step, text, acted_at FROM act"
        " WHERE document_id = $1 AND revision = $2 ORDER BY id",
        *place,
    )
    return [
        DoneAct(task, Verb(verb), by, via, tuple(targets), step, text, at)
        for task, verb, by, via, targets, step, text, at in rows
    ]


_WAITING = """
SELECT a.amount, a.currency, t.part, t.task_id, t.document_id, t.revision, t.step, t.name,
       coalesce(nullif(t.rule, ''), a.route -> (t.step - 1) -> 'found' ->> 'rule', ''),
       t.acting_for, a.title, a.submitter_id, a.content_hash, t.assignee_id, t.assigned_at,
       t.due_at, CASE WHEN t.native THEN $3 ELSE a.tenant END
  FROM task t JOIN approval a USING (document_id, revision)
"""
INBOX = f"""{_WAITING}
 WHERE t.assignee_id = $4 AND t.status = 'open'
   AND ($1::text IS NULL OR (t.assigned_at, t.task_id) >
        (SELECT b.assigned_at, b.task_id FROM task b WHERE b.task_id = $1 AND b.assignee_id = $4))
 ORDER BY t.assigned_at, t.task_id LIMIT $2
"""  # noqa: S608 -- the parts are constants
_IN_TROUBLE = f"""{_WAITING}
 WHERE t.status = 'open' AND (t.is_stranded OR t.rule LIKE 'administrator (%')
   AND ($1::text IS NULL OR (t.assigned_at, t.task_id) >
        (SELECT b.assigned_at, b.task_id FROM task b WHERE b.task_id = $1))
 ORDER BY t.assigned_at, t.task_id LIMIT $2
"""  # noqa: S608 -- the parts are constants


async def inbox(tx: Tx, person: EmployeeId, after: TaskId | None, limit: int) -> list[Waiting]:
    """A page of a person's open tasks with what they are about, oldest first."""
    return [_waiting(row) for row in await tx.fetch(INBOX, after, limit, TONGLU, person)]


async def in_trouble(tx: Tx, after: TaskId | None, limit: int) -> list[Waiting]:
    """A page of the open tasks that an administrator is asked, or that no one can take."""
    return [_waiting(row) for row in await tx.fetch(_IN_TROUBLE, after, limit, TONGLU)]


def _waiting(row: Record) -> Waiting:
    amount, currency, part, *others = row
    # It was checked when it came in; to check each row of a page again doubles what it costs.
    total = Money.model_construct(amount=amount, currency=currency)
    return Waiting(total, Part(part), *others)
