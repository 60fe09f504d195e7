"""What is to be done about tasks that are late, by the database's clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis import Tx
from events import TaskId
from events.workflow import Decision, OverdueAction

from workflow.approval.domain import Due
from workflow.approval.store.rows import columns


async def now(tx: Tx) -> datetime:
    """What time it is in the database."""
    at: datetime = await tx.fetchval("SELECT now()")
    return at


async def add_dues(tx: Tx, dues: Sequence[Due]) -> None:
    await tx.execute(
        "INSERT INTO deadline (task_id, at, action, decision)"
        " SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[])"
        " ON CONFLICT DO NOTHING",
        *columns(dues, "task_id", "at", "action", "decision"),
    )


async def take_due(tx: Tx) -> Due | None:
    """A deadline that has come, by the database's clock, of a task that is open; it is done with.

    Two who ask at once get different ones.
    """
    row = await tx.fetchrow(
        "DELETE FROM deadline WHERE (task_id, at, action) = ("
        " SELECT d.task_id, d.at, d.action FROM deadline d JOIN task t USING (task_id)"
        "  WHERE d.at <= now() AND t.status = 'open' ORDER BY d.at"
        "  LIMIT 1 FOR UPDATE OF d SKIP LOCKED) RETURNING task_id, at, action, decision"
    )
    if row is None:
        return None
    decision = Decision(row["decision"]) if row["decision"] else None
    return Due(TaskId(row["task_id"]), row["at"], OverdueAction(row["action"]), decision)


async def put_off_due(tx: Tx, due: Due, by: timedelta) -> None:
    """It could not be done: not before this much later."""
    await tx.execute(
        "UPDATE deadline SET at = now() + $4 WHERE task_id = $1 AND at = $2 AND action = $3",
        *(due.task_id, due.at, due.action.value, by),
    )


async def forget_dues(tx: Tx) -> int:
    """Drop some deadlines that have come of tasks that ended before them; how many."""
    done = await tx.execute(
        "DELETE FROM deadline WHERE (task_id, at, action) IN ("
        " SELECT d.task_id, d.at, d.action FROM deadline d JOIN task t USING (task_id)"
        "  WHERE d.at <= now() AND t.status NOT IN ('open', 'waiting') LIMIT 1000"
        "  FOR UPDATE OF d SKIP LOCKED)"
    )
    return int(done.rpartition(" ")[2])
