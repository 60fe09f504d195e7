"""Documents by the batch, and what time and the directory bring."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from chassis import Database
from events import DocumentId, EmployeeId, Money, TaskId
from events.claims import ClaimWithdrawn
from events.directory import EmploymentStatus
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalOverdue,
    ApprovalRequested,
    ApprovalTaskAssigned,
    Closing,
    Decision,
    Outcome,
    OverdueAction,
    Verb,
)
from uuid_utils.compat import uuid7
from workflow.approval import handlers, store
from workflow.approval.domain import TONGLU, Act, Approval, Status, Verdict
from workflow.definition.handlers import import_definitions
from workflow.standin.domain import Reason, Window
from workflow.standin.handlers import add_window

HASH = "ab" * 32


def withdrawal(id_: str = "c-1", revision: int = 1) -> ClaimWithdrawn:
    now = datetime(2026, 11, 24, 10, tzinfo=UTC)
    return ClaimWithdrawn(
        claim_id=id_, revision=revision, employee_id=EmployeeId("lin"), withdrawn_at=now
    )


def by(who: str, decision: Decision = Decision.APPROVE) -> Verdict:
    now = datetime(2026, 11, 24, 10, tzinfo=UTC)
    return Verdict(decision, EmployeeId(who), TONGLU, HASH, now, "看过")


async def latest(database: Database, id_: str = "c-1") -> Approval:
    async with database.transaction() as tx:
        found = await store.of_document(tx, DocumentId(id_), None)
    assert found is not None
    return found


def asked(approval: Approval) -> list[str]:
    return [task.assignee_id for task in approval.open_tasks]


async def test_events_of_one_document_in_a_batch_take_effect_in_their_order(
    database, do, definition, hand_in, claim
) -> None:
    await do(import_definitions, [definition()])
    facts = await hand_in(
        claim(),
        withdrawal(),
        claim("c-2"),
        claim(revision=2),
        claim(revision=3, content_hash="cd" * 32),
        withdrawal("c-2"),
    )
    said = [
        (fact.document_id, fact.revision, type(fact))
        for fact in facts
        if isinstance(fact, ApprovalRequested | ApprovalCancelled)
    ]
    assert [one for one in said if one[0] == "c-1"] == [
        ("c-1", 1, ApprovalRequested),
        ("c-1", 1, ApprovalCancelled),
        ("c-1", 2, ApprovalRequested),
        ("c-1", 2, ApprovalCancelled),
        ("c-1", 3, ApprovalRequested),
    ]
    assert [one[2] for one in said if one[0] == "c-2"] == [ApprovalRequested, ApprovalCancelled]
    assert (await latest(database)).revision == 3
    assert (await latest(database, "c-2")).status is Status.CANCELLED


async def test_batch_takes_as_many_statements_as_one_document(
    database, do, definition, claim, received
) -> None:
    await do(import_definitions, [definition()])

    async def statements(batch) -> int:
        seen = []
        async with database.transaction() as tx:
            tx.connection.add_query_logger(seen.append)
            await handlers.on_claims(tx, received(batch))
            tx.connection.remove_query_logger(seen.append)
        return len(seen)

    await statements([claim("c-0")])  # the first call learns the types of the columns
    one = await statements([claim("c-1")])
    assert await statements([claim(f"d-{number}") for number in range(200)]) == one


async def test_each_fact_of_a_batch_follows_from_its_own_event(
    database, do, definition, claim, received
) -> None:
    await do(import_definitions, [definition()])
    batch = received([claim("c-1"), claim("c-2")])
    await do(handlers.on_claims, batch)
    async with database.transaction() as tx:
        rows = await tx.fetch(
            "SELECT key, headers ->> 'ce_causationid' AS cause,"
            " headers ->> 'ce_correlationid' AS road FROM outbox"
        )
    causes = {one.event.claim_id: str(one.envelope.id) for one in batch}
    assert {row["key"] for row in rows} == set(causes)
    assert all(row["cause"] == causes[row["key"]] for row in rows)
    assert all(row["road"] == row["key"] for row in rows)


async def test_clean_claim_below_the_limit_needs_no_one(database, submitted) -> None:
    rule = {"when": "amount < 50000", "audit_percent": 0}
    facts = await submitted(automatic=rule)
    assert [type(fact) for fact in facts] == [ApprovalRequested, ApprovalDecided]
    assert facts[1].outcome is Outcome.APPROVED
    assert facts[1].automatic
    kept = await latest(database)
    assert (kept.status, kept.tasks, kept.automatic) == (Status.APPROVED, (), facts[1].automatic)


async def test_claim_that_is_audited_or_over_the_limit_is_asked_of_a_person(
    database, submitted, claim
) -> None:
    everyone = {"when": "amount < 50000", "audit_percent": 100}
    assert isinstance((await submitted(automatic=everyone))[1], ApprovalTaskAssigned)
    none = {"when": "amount < 50000", "audit_percent": 0}
    big = claim("c-2", total=Money(amount=Decimal("500.00"), currency="CNY"))
    facts = await submitted(automatic=none, version=2, of=big)
    assert isinstance(facts[1], ApprovalTaskAssigned)


async def test_resubmission_goes_straight_to_who_returned_it(
    database, do, submitted, hand_in, claim
) -> None:
    await submitted(resubmit="to_rejector")
    await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    await do(handlers.decide_task, TaskId("c-1.1.2.1"), by("zhao", Decision.RETURN))
    facts = await hand_in(claim(revision=2))
    assert (facts[-1].step, facts[-1].assignee_id) == (2, "zhao")
    assert facts[1].text.endswith("are not asked again.")


async def test_return_is_kept_over_the_way_back(database, do, submitted) -> None:
    await submitted()
    await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    act = Act(EmployeeId("zhao"), text="请看", to_step=1, is_straight=True)
    await do(handlers.act_on_task, TaskId("c-1.1.2.1"), Verb.RETURN_TO_STEP, act)
    kept = await latest(database)
    assert (kept.back.step, kept.back.person, asked(kept)) == (2, "zhao", ["wang"])
    await do(handlers.decide_task, TaskId("c-1.1.1.2"), by("wang"))
    kept = await latest(database)
    assert (kept.back, asked(kept)) == (None, ["zhao"])


def a_window(person: str, stand_in: str, kinds=None) -> Window:
    now = datetime.now(UTC)
    return Window(
        id=str(uuid7()),
        person_id=EmployeeId(person),
        stand_in_id=EmployeeId(stand_in),
        kinds=kinds,
        begins_at=now - timedelta(hours=1),
        ends_at=now + timedelta(days=1),
        reason=Reason.LEAVE,
        created_by=person,
    )


async def test_open_tasks_move_when_the_window_begins_and_back_no_more(
    database, do, submitted, hand_in, claim
) -> None:
    await submitted()
    await hand_in(claim("c-2", employee_id=EmployeeId("wei")))
    window = a_window("wang", "wei")
    await do(add_window, window)
    closed, moved = await do(handlers.reassign_for_window, window)
    # wei handed c-2 in, so it stays with wang.
    assert (closed.closing, moved.assignee_id, moved.acting_for) == (
        Closing.STAND_IN,
        "wei",
        "wang",
    )
    assert asked(await latest(database, "c-2")) == ["wang"]
    assert await do(handlers.reassign_for_window, window) == ()
    assert (await do(handlers.decide_task, moved.task_id, by("wei")))[0].acting_for == "wang"


async def test_leaver_in_a_step_of_several_is_replaced_in_that_seat_alone(
    database, do, hire, submitted, employee
) -> None:
    await hire(employee("bo", "chen", "finance"))
    both = {"approvers": [{"rule": "role", "role": "finance"}], "completion": "all"}
    await submitted(both)
    await hire(employee("bo", "chen", status=EmploymentStatus.LEFT))
    assert sorted(asked(await latest(database))) == ["chen", "zhao"]


async def test_task_that_reaches_a_leaver_as_the_news_comes_is_found_by_the_sweep(
    database, do, hire, submitted, employee
) -> None:
    await submitted()
    async with database.transaction() as tx:
        await handlers.decide_task(tx, TaskId("c-1.1.1.1"), by("wang"))
        assert await hire(employee("zhao", "chen", status=EmploymentStatus.LEFT)) == ()
    assert asked(await latest(database)) == ["zhao"]
    closed, moved = await do(handlers.reroute_leavers)
    assert (closed.closing, moved.assignee_id) == (Closing.REROUTED, "chen")
    assert await do(handlers.reroute_leavers) == ()


LATE = {"hours": 8, "remind": [4], "escalate": 12, "decide": {"after": 20, "decision": "return"}}


async def test_deadlines_are_kept_and_each_is_taken_once(database, do, submitted) -> None:
    step = {"approver": {"rule": "line_manager"}, "deadline": LATE}
    _, first = await submitted(step, "finance")
    assert first.due_at is not None
    async with database.transaction() as tx:
        assert await store.take_due(tx) is None
        await tx.execute("UPDATE deadline SET at = at - interval '30 days'")
    said = []
    for _ in range(4):
        async with database.transaction() as tx:
            due = await store.take_due(tx)
            if due is not None:
                await handlers.overdue(tx, due)
                said += [fact.action for fact in tx.emitted if isinstance(fact, ApprovalOverdue)]
    assert said == [OverdueAction.REMIND, OverdueAction.ESCALATE]
    assert asked(await latest(database)) == ["chen"]
    async with database.transaction() as tx:
        # The decision that was due for the task that escalated is now due for its successor.
        assert await store.forget_dues(tx) == 1
        rows = await tx.fetch("SELECT task_id, action FROM deadline WHERE at > now()")
    assert {(row["task_id"], row["action"]) for row in rows} >= {("c-1.1.1.2", "decide")}


async def test_running_approval_of_the_first_release_is_read_and_goes_on(
    database, do, submitted
) -> None:
    await submitted()
    old = (
        '[{"step": 1, "name": "s", "found": {"approver_id": "wang", "rule": "line_manager(lin)",'
        ' "by_administrator": false}}, {"step": 2, "name": "t", "found": {"approver_id": "zhao",'
        ' "rule": "role(finance)", "by_administrator": false}}]'
    )
    async with database.transaction() as tx:
        await tx.execute("UPDATE approval SET route = $1", old)
        await tx.execute("UPDATE task SET rule = ''")
        (waiting,) = await store.inbox(tx, EmployeeId("wang"), None, 2)
    assert waiting.rule == "line_manager(lin)"
    await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    assert asked(await latest(database)) == ["zhao"]


@pytest.mark.parametrize("manager", ["wei", "lin"])
async def test_circle_in_the_management_line_asks_an_administrator(
    database, hire, submitted, employee, manager
) -> None:
    left = EmploymentStatus.LEFT
    await hire(employee("wei", "lin", status=left), employee("lin", manager))
    _, first = await submitted("line_manager")
    assert first.assignee_id == "ada"


async def test_task_that_belongs_to_no_approval_is_found_after_every_test(
    database, submitted, orphans
) -> None:
    await submitted("line_manager")
    assert await orphans() == []
    await database.pool.execute("UPDATE task SET revision = 2")
    assert await orphans() == ["c-1.1.1.1"]
    await database.pool.execute("UPDATE task SET revision = 1")
