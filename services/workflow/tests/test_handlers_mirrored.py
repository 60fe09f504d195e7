"""A task that can be decided here and in the OA: the first valid decision wins, once."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from chassis import Database, Reject
from chassis.testing import until_one_waits_for_a_lock
from events import DocumentId, EmployeeId, Event, InstanceId, TaskId, TenantId
from events.directory import EmploymentStatus
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
)
from events.workflow import (
    ApprovalActed,
    ApprovalDecided,
    ApprovalRevoked,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Closing,
    Decision,
    Outcome,
    Verb,
)
from workflow.approval import handlers, store
from workflow.approval.domain import (
    TONGLU,
    Act,
    Approval,
    Status,
    TaskCancelled,
    TaskDecided,
    Verdict,
)

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HASH = "ab" * 32
OA = TenantId("oa")
CHEN = {"rule": "person", "person": "chen"}
FINANCE = {"rule": "role", "role": "finance"}
FIRST, SECOND = TaskId("c-1.1.1.1"), TaskId("c-1.1.2.1")


def about(fact_type, task: str | None, **said):
    document = task.rpartition(".")[0].partition(".")[0] if task else "c-1"
    where = {
        "document_id": DocumentId(document),
        "revision": 1,
        "tenant": OA,
        "task_id": task,
        "instance_id": InstanceId("i"),
    }
    return fact_type(**(where | said))


def in_oa(task: str = FIRST, by: str = "wang", **changed) -> OADecisionReceived:
    said = {"decision": Decision.APPROVE, "content_hash": HASH, "decided_at": NOW, "step": 1}
    return about(OADecisionReceived, task, decided_by=EmployeeId(by), **(said | changed))


def closed(status: InstanceStatus, task: str | None = FIRST) -> OAInstanceClosed:
    return about(OAInstanceClosed, task, status=status, closed_at=NOW)


def here(who: str, decision: Decision = Decision.APPROVE) -> Verdict:
    return Verdict(decision, EmployeeId(who), TONGLU, HASH, NOW, "看过")


async def latest(database: Database, id_: str = "c-1") -> Approval:
    async with database.transaction() as tx:
        found = await store.of_document(tx, DocumentId(id_), None)
    assert found is not None
    return found


def kinds(facts: Sequence[Event]) -> list[type]:
    return [type(fact) for fact in facts]


@pytest.fixture
async def mirrored(submitted):
    """A claim whose tasks are shown in the OA too."""

    async def make(*rules, **changed):
        return await submitted(*rules, tenant="oa", mode="mirrored", **changed)

    return make


async def test_first_step_in_the_oa_and_the_second_here(database, do, mirrored) -> None:
    await mirrored()
    said, asked = await do(handlers.on_oa_decision, in_oa())
    assert (said.via, said.decided_by, asked.assignee_id) == ("oa", "wang", "zhao")
    _, ended = await do(handlers.decide_task, SECOND, here("zhao"))
    assert ended.outcome is Outcome.APPROVED


async def test_late_decision_of_either_side_has_no_effect_and_here_it_is_told_who_won(
    database, do, mirrored
) -> None:
    await mirrored()
    await do(handlers.on_oa_decision, in_oa())
    with pytest.raises(TaskDecided) as late:
        await do(handlers.decide_task, FIRST, here("wang"))
    assert (late.value.via, late.value.decided_by) == ("oa", "wang")
    await do(handlers.decide_task, SECOND, here("zhao", Decision.REJECT))
    before = await latest(database)
    assert await do(handlers.on_oa_decision, in_oa(SECOND, "zhao", step=2)) == ()
    assert await latest(database) == before
    assert before.status is Status.REJECTED


@pytest.mark.parametrize(
    "changed",
    [
        {"by": "zhao"},
        {"by": "nobody"},
        {"by": "lin"},
        {"decision": Decision.UNKNOWN},
        {"content_hash": "0" * 64},
    ],
)
async def test_decision_in_the_oa_that_is_not_valid_leaves_the_task_open_here(
    database, do, mirrored, changed
) -> None:
    await mirrored()
    before = await latest(database)
    assert await do(handlers.on_oa_decision, in_oa(**changed)) == ()
    assert await latest(database) == before
    await do(handlers.decide_task, FIRST, here("wang"))


@pytest.mark.parametrize(
    "event",
    [
        in_oa(task=TaskId("c-1.1.9.9")),
        in_oa(tenant=TenantId("other")),
        in_oa(revision=2),
        in_oa(task_id=None),
    ],
)
async def test_decision_that_belongs_to_no_mirrored_task_is_rejected(do, mirrored, event) -> None:
    await mirrored()
    with pytest.raises(Reject):
        await do(handlers.on_oa_decision, event)


async def test_ending_and_drift_of_a_mirror_leave_the_task_open_here(
    database, do, mirrored
) -> None:
    await mirrored()
    before = await latest(database)
    for status in InstanceStatus:
        assert await do(handlers.on_oa_closed, closed(status)) == ()
    drift = about(OADriftDetected, FIRST, drift=Drift.VANISHED, detail="", detected_at=NOW)
    assert await do(handlers.on_oa_drift, drift) == ()
    assert await latest(database) == before


async def test_duplicated_and_shuffled_decisions_come_to_the_same(
    database, do, mirrored, claim, hand_in
) -> None:
    await mirrored("line_manager")
    chance = random.Random(4)
    for number in range(2, 12):
        await hand_in(claim(f"c-{number}"))
    events = [in_oa(TaskId(f"c-{number}.1.1.1")) for number in range(1, 12)] * 10
    chance.shuffle(events)
    facts = list(
        itertools.chain.from_iterable(
            [await do(handlers.on_oa_decision, event) for event in events]
        )
    )
    assert kinds(facts).count(ApprovalTaskDecided) == 11
    assert kinds(facts).count(ApprovalDecided) == 11
    for number in range(1, 12):
        assert (await latest(database, f"c-{number}")).status is Status.APPROVED


async def test_of_two_decisions_at_once_in_both_systems_exactly_one_counts(
    database, do, mirrored, claim, hand_in
) -> None:
    tries = 60
    await mirrored("line_manager")
    for number in range(2, tries + 1):
        await hand_in(claim(f"c-{number}"))
    winners = set()
    for number in range(1, tries + 1):
        task = TaskId(f"c-{number}.1.1.1")
        there = do(handlers.on_oa_decision, in_oa(task))
        mine = do(handlers.decide_task, task, here("wang", Decision.REJECT))
        pair = (there, mine) if number % 2 else (mine, there)
        results = await asyncio.gather(*pair, return_exceptions=True)
        facts = [fact for one in results if isinstance(one, tuple) for fact in one]
        assert kinds(facts) == [ApprovalTaskDecided, ApprovalDecided]
        refused = [one for one in results if isinstance(one, BaseException)]
        assert all(isinstance(one, TaskDecided) for one in refused)
        assert len(refused) == (facts[0].via == "oa")
        kept = await latest(database, f"c-{number}")
        assert kept.status.value == facts[1].outcome.value
        winners.add(facts[0].via)
    assert winners == {"oa", "tonglu"}


async def test_approval_taken_back_in_the_oa_is_said_once(database, do, mirrored) -> None:
    await mirrored("line_manager")
    await do(handlers.on_oa_decision, in_oa())
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.APPROVED)) == ()
    (revoked,) = await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED))
    assert isinstance(revoked, ApprovalRevoked)
    assert (revoked.via, "revoked" in revoked.reason) == ("oa", True)
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED)) == ()
    assert (await latest(database)).status is Status.REVOKED


@pytest.mark.parametrize(
    "status", [InstanceStatus.REVOKED, InstanceStatus.REJECTED, InstanceStatus.RETURNED]
)
async def test_approval_of_the_oas_own_process_can_be_taken_back(
    database, do, submitted, status
) -> None:
    await submitted("line_manager", tenant="oa")
    await do(handlers.on_oa_decision, in_oa(task_id=None))
    facts = await do(handlers.on_oa_closed, closed(status, None))
    assert kinds(facts) == [ApprovalRevoked]
    assert await do(handlers.on_oa_closed, closed(status, None)) == ()


async def test_oa_takes_back_only_what_it_had_approved(database, do, mirrored) -> None:
    await mirrored("line_manager")
    await do(handlers.decide_task, FIRST, here("wang"))
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED)) == ()
    assert (await latest(database)).status is Status.APPROVED


async def test_step_whose_yes_was_taken_back_is_asked_anew_while_the_road_is_open(
    database, do, mirrored
) -> None:
    await mirrored()
    await do(handlers.on_oa_decision, in_oa())
    facts = await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED))
    assert kinds(facts) == [ApprovalActed, ApprovalTaskClosed, ApprovalTaskAssigned]
    acted, _, asked = facts
    assert (acted.verb, acted.via, acted.by) == (Verb.RETURN_TO_STEP, "oa", None)
    assert (asked.assignee_id, asked.step, asked.task_id) == ("wang", 1, "c-1.1.1.2")
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED)) == ()


async def test_events_of_the_oa_wait_for_an_approval_before_they_hold_another(
    database, mirrored, hand_in, claim, received
) -> None:
    await mirrored("line_manager")
    await hand_in(claim("c-2"))
    events = received([in_oa(TaskId("c-2.1.1.1")), in_oa(TaskId("c-1.1.1.1"))])
    lock = "SELECT FROM approval WHERE document_id = $1 FOR UPDATE NOWAIT"

    async def handle() -> None:
        async with database.transaction() as tx:
            await handlers.on_oa(tx, events)

    async with database.pool.acquire() as other, other.transaction():
        await other.execute(lock, "c-1")
        handling = asyncio.create_task(handle())
        await until_one_waits_for_a_lock(database)
        await other.execute(lock, "c-2")
    await handling
    for id_ in ("c-1", "c-2"):
        assert (await latest(database, id_)).status is Status.APPROVED


@pytest.mark.parametrize("completion", ["all", "sequence"])
async def test_step_of_several_is_asked_anew_when_the_yes_of_one_was_taken_back(
    database, do, mirrored, completion
) -> None:
    several = {"approvers": [FINANCE, CHEN], "completion": completion}
    (_, first, *_) = await mirrored(several)
    await do(handlers.on_oa_decision, in_oa(first.task_id, first.assignee_id))
    facts = await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED, first.task_id))
    again = [fact for fact in facts if isinstance(fact, ApprovalTaskAssigned)]
    assert first.assignee_id in {fact.assignee_id for fact in again}
    assert {fact.task_id for fact in again}.isdisjoint({first.task_id})


async def test_yes_of_a_seat_that_a_sequence_went_on_behind_can_still_be_taken_back(
    database, do, mirrored
) -> None:
    both = {"approvers": [FINANCE, CHEN], "completion": "sequence"}
    await mirrored("line_manager", both)
    await do(handlers.on_oa_decision, in_oa())
    await do(handlers.on_oa_decision, in_oa(SECOND, "zhao", step=2))
    act = Act(EmployeeId("chen"), text="再看", to_step=1, is_straight=True)
    await do(handlers.act_on_task, TaskId("c-1.1.2.2"), Verb.RETURN_TO_STEP, act)
    await do(handlers.decide_task, TaskId("c-1.1.1.2"), here("wang"))
    assert [one.assignee_id for one in (await latest(database)).open_tasks] == ["chen"]
    await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED, SECOND))
    assert [one.assignee_id for one in (await latest(database)).open_tasks] == ["zhao"]


async def test_yes_that_counts_no_more_can_be_taken_back_without_effect(
    database, do, mirrored
) -> None:
    await mirrored()
    await do(handlers.on_oa_decision, in_oa())
    act = Act(EmployeeId("zhao"), text="再看", to_step=1)
    await do(handlers.act_on_task, SECOND, Verb.RETURN_TO_STEP, act)
    await do(handlers.decide_task, TaskId("c-1.1.1.2"), here("wang"))
    await do(handlers.decide_task, TaskId("c-1.1.2.2"), here("zhao"))
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED)) == ()
    assert (await latest(database)).status is Status.APPROVED


async def test_opinion_taken_back_in_the_oa_changes_nothing(database, do, mirrored) -> None:
    await mirrored("line_manager")
    act = Act(EmployeeId("wang"), (EmployeeId("chen"),), "请看")
    await do(handlers.act_on_task, FIRST, Verb.DELEGATE, act)
    opinion = TaskId("c-1.1.1.2")
    await do(handlers.on_oa_decision, in_oa(opinion, "chen"))
    assert await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED, opinion)) == ()


async def test_yes_taken_back_at_a_step_that_is_yet_to_come_again_is_asked_on_the_way(
    database, do, mirrored
) -> None:
    await mirrored("line_manager", {"approver": FINANCE}, {"approver": CHEN})
    await do(handlers.on_oa_decision, in_oa())
    await do(handlers.on_oa_decision, in_oa(SECOND, "zhao", step=2))
    act = Act(EmployeeId("chen"), text="再看", to_step=1, is_straight=True)
    await do(handlers.act_on_task, TaskId("c-1.1.3.1"), Verb.RETURN_TO_STEP, act)
    await do(handlers.on_oa_closed, closed(InstanceStatus.REVOKED, SECOND))
    assert (await latest(database)).current_step == 1
    await do(handlers.decide_task, TaskId("c-1.1.1.2"), here("wang"))
    assert (await latest(database)).current_step == 2


async def test_mirrored_task_of_a_leaver_moves_and_the_old_one_does_not_count(
    database, do, hire, mirrored, employee
) -> None:
    await mirrored()
    gone, asked = await hire(employee("wang", "chen", status=EmploymentStatus.LEFT))
    assert (gone.closing, asked.assignee_id) == (Closing.REROUTED, "chen")
    assert await do(handlers.on_oa_decision, in_oa()) == ()
    with pytest.raises(TaskCancelled):
        await do(handlers.decide_task, FIRST, here("wang"))
    assert await do(handlers.on_oa_decision, in_oa(asked.task_id, "chen")) != ()


async def test_change_of_mode_concerns_new_documents_only(
    database, do, mirrored, submitted, claim
) -> None:
    await mirrored()
    await submitted(version=2, of=claim("c-2"))
    assert [(await latest(database, id_)).mode.value for id_ in ("c-1", "c-2")] == [
        "mirrored",
        "native",
    ]
    assert await do(handlers.on_oa_decision, in_oa()) != ()


async def test_mirrored_step_of_all_takes_each_where_it_is_decided(
    database, do, hire, mirrored, employee
) -> None:
    await hire(employee("bo", "chen", "finance"))
    both = {"approvers": [FINANCE], "completion": "all"}
    facts = await mirrored(both)
    tasks = {fact.assignee_id: fact.task_id for fact in facts[1:]}
    assert set(tasks) == {"zhao", "bo"}
    (said,) = await do(handlers.on_oa_decision, in_oa(tasks["bo"], "bo"))
    assert said.via == "oa"
    _, ended = await do(handlers.decide_task, tasks["zhao"], here("zhao"))
    assert ended.outcome is Outcome.APPROVED
