"""Plan and apply: load what is known, compare, check, save, emit."""

from chassis import Tx
from events.directory import DepartmentUpdated, EmployeeUpdated

from directory_sync import store
from directory_sync.domain.plan import (
    AnotherRunIsOn,
    Order,
    Plan,
    PlanChanged,
    SourceBroken,
    Threshold,
    TooManyLeave,
    facts,
    make_plan,
)
from directory_sync.domain.snapshot import Reading, Snapshot

KEPT_PROBLEMS = 100  # a run keeps the first of them; the plan shows all
Refused = (SourceBroken, PlanChanged, TooManyLeave)


async def plan(tx: Tx, snapshot: Snapshot) -> Plan:
    """What would be done now."""
    return make_plan(snapshot, await store.known(tx))


async def apply_snapshot(
    tx: Tx, reading: Reading, order: Order, threshold: Threshold, run: store.Run
) -> tuple[int, Plan]:
    """Bring the directory to what was read: the number of the run, and what was done.

    Raises:
        SourceBroken, PlanChanged, TooManyLeave, AnotherRunIsOn: nothing was changed.
    """
    if reading.snapshot is None:
        raise SourceBroken(reading.findings)
    if not await store.lock_directory(tx):
        raise AnotherRunIsOn
    due = await plan(tx, reading.snapshot)
    order.check(due, threshold)
    states = facts(due, tx.now)
    await store.save_departments(tx, [it for it in states if isinstance(it, DepartmentUpdated)])
    await store.save_employees(tx, [it for it in states if isinstance(it, EmployeeUpdated)])
    for state in states:
        tx.emit(state)
    done = run.came_to("unchanged" if due.is_empty else "applied", plan=due, forced=order.force)
    return await store.add_run(tx, done), due


async def record_refusal(tx: Tx, run: store.Run, error: Exception) -> None:
    """Keep that a run was refused, and why; the directory stands as it was."""
    findings = error.findings[:KEPT_PROBLEMS] if isinstance(error, SourceBroken) else ()
    await store.add_run(tx, run.refused(type(error).__name__, findings))
