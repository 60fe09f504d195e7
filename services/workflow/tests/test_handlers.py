"""Events, state and what is said, on a real PostgreSQL."""

import asyncio
from typing import Any

import pytest
from chassis import Database, Reject, Retry
from events import ContentHash, DocumentId, EmployeeId, Event, TaskId
from events.oa import OADriftDetected, OAInstanceClosed
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Decision,
    Mode,
    Outcome,
)
from workflow import handlers, store
from workflow.domain.approval import Approval, Status, Task, TaskCancelled, TaskDecided, Verdict
from workflow.store import Viewer


async def seen(database: Database, document: str = "C1", revision: int = 1) -> Approval:
    async with database.transaction() as tx:
        approval = await store.approval(tx, DocumentId(document), revision)
    assert approval is not None
    return approval


async def waiting(database: Database, document: str = "C1") -> Task:
    task = (await seen(database, document)).waiting
    assert task is not None
    return task


async def decide(database: Database, by: str, document: str = "C1", **changes: Any) -> Any:
    """Decide on what waits, as this person, in our own inbox."""
    task = changes.pop("task", None) or (await waiting(database, document)).task_id
    async with database.transaction() as tx:
        fields = {
            "decision": Decision.APPROVE,
            "by": EmployeeId(by),
            "via": "tonglu",
            "content_hash": ContentHash("a1" * 32),
            "decided_at": tx.now,
        }
        verdict = Verdict(**{**fields, **changes})
        is_admin = by in {"luo", "sun"}
        await handlers.decide_task(tx, TaskId(task), verdict, Viewer(EmployeeId(by), is_admin))
        return tx.emitted


def kinds(facts: tuple[Event, ...]) -> list[type[Event]]:
    return [type(fact) for fact in facts]


def closed(status: str) -> OAInstanceClosed:
    return OAInstanceClosed(
        document_id="C1", revision=1, tenant="flowable", instance_id="P1", status=status,
        closed_at="2026-11-24T08:00:00Z",
    )  # fmt: skip


async def test_a_claim_gets_its_whole_route_and_the_first_is_asked(native, say) -> None:
    requested, assigned = await native.take(say.submitted())
    assert isinstance(requested, ApprovalRequested)
    assert isinstance(assigned, ApprovalTaskAssigned)
    assert [(s.step, s.approver_id, s.rule) for s in requested.route] == [
        (1, "wang", "line_manager(lin)"),
        (2, "he", "role(finance)"),
    ]
    assert (requested.mode, requested.tenant) == (Mode.NATIVE, None)
    assert requested.definition == "travel-claim@1"
    assert requested.details == ("hotel 11-20 1488.00 CNY",)
    assert (assigned.assignee_id, assigned.step) == ("wang", 1)


async def test_two_approvals_make_it_approved(native, say) -> None:
    await native.take(say.submitted())
    first = await decide(native.database, "wang")
    assert kinds(first) == [ApprovalTaskDecided, ApprovalTaskAssigned]
    second = await decide(native.database, "he")
    assert kinds(second) == [ApprovalTaskDecided, ApprovalDecided]
    assert second[1].outcome is Outcome.APPROVED
    assert (await seen(native.database)).status is Status.APPROVED


async def test_a_batch_of_claims_is_planned_at_once_and_in_order(native, say) -> None:
    facts = await native.take(
        say.submitted("C1"),
        say.submitted("C2", employee_id="wang"),
        say.withdrawn("C1"),
        say.submitted("C1", revision=2),
    )
    assert [(type(f), f.document_id) for f in facts] == [
        (ApprovalRequested, "C1"),
        (ApprovalTaskAssigned, "C1"),
        (ApprovalRequested, "C2"),
        (ApprovalTaskAssigned, "C2"),
        (ApprovalCancelled, "C1"),
        (ApprovalRequested, "C1"),
        (ApprovalTaskAssigned, "C1"),
    ]
    assert (await seen(native.database, "C1", 1)).status is Status.CANCELLED
    assert (await seen(native.database, "C1", 2)).status is Status.OPEN
    assert (await waiting(native.database, "C2")).found.approver_id == "chen"


async def test_a_new_hand_in_closes_the_approval_before_it(native, say) -> None:
    await native.take(say.submitted())
    facts = await native.take(say.submitted(revision=2))
    assert kinds(facts) == [ApprovalCancelled, ApprovalRequested, ApprovalTaskAssigned]
    assert (await seen(native.database)).status is Status.CANCELLED


async def test_a_returned_claim_that_is_handed_in_again_begins_anew(native, say) -> None:
    await native.take(say.submitted())
    facts = await decide(native.database, "wang", decision=Decision.RETURN, opinion="缺发票")
    assert facts[-1].outcome is Outcome.RETURNED
    facts = await native.take(say.submitted(revision=2))
    assert kinds(facts) == [ApprovalRequested, ApprovalTaskAssigned]


async def test_a_submitter_whom_the_directory_does_not_know_waits(native, say) -> None:
    with pytest.raises(Retry, match="directory has not caught up: new"):
        await native.take(say.submitted(employee_id="new"))


async def test_claims_wait_until_a_definition_is_there(road, say) -> None:
    with pytest.raises(Retry, match="no definition"):
        await road.take(say.submitted())


async def test_a_manager_who_has_left_makes_it_an_administrators_task(delegated, say) -> None:
    await delegated.take(say.employee("wang", status="left"))
    requested, assigned = await delegated.take(say.submitted())
    assert requested.route[0].rule == (
        "administrator: line_manager(lin): wang does not work here now"
    )
    assert assigned.assignee_id == "luo"
    assert requested.mode is Mode.NATIVE


async def test_without_an_administrator_it_waits_and_says_why(native, say) -> None:
    await native.take(*(say.employee(one, roles=()) for one in ("luo", "sun")))
    await native.take(say.employee("wang", status="left"))
    with pytest.raises(Retry, match="give the role admin"):
        await native.take(say.submitted())


async def test_a_withdrawn_claim_is_not_asked_about_any_more(native, say) -> None:
    await native.take(say.submitted())
    task = await waiting(native.database)
    assert kinds(await native.take(say.withdrawn())) == [ApprovalCancelled]
    with pytest.raises(TaskCancelled):
        await decide(native.database, "wang", task=task.task_id)


async def test_withdrawing_an_older_revision_or_a_decided_claim_does_nothing(native, say) -> None:
    await native.take(say.submitted(revision=2))
    assert await native.take(say.withdrawn(revision=1)) == ()
    await native.take(say.submitted("C2"))
    await decide(native.database, "wang", "C2", decision=Decision.REJECT, opinion="重复")
    assert await native.take(say.withdrawn("C2")) == ()


async def test_of_a_decision_and_a_withdrawal_at_once_exactly_one_wins(native, say) -> None:
    for number in range(10):
        await native.take(say.submitted(f"C{number}"))
        task = (await waiting(native.database, f"C{number}")).task_id
        decided, cancelled = await asyncio.gather(
            decide(native.database, "wang", task=task, decision=Decision.REJECT, opinion="重复"),
            native.take(say.withdrawn(f"C{number}")),
            return_exceptions=True,
        )
        won = [facts for facts in (decided, cancelled) if isinstance(facts, tuple) and facts]
        assert len(won) == 1, (decided, cancelled)


async def test_of_two_decisions_at_once_exactly_one_counts(native, say) -> None:
    for number in range(10):
        await native.take(say.submitted(f"C{number}"))
        task = (await waiting(native.database, f"C{number}")).task_id
        outcomes = await asyncio.gather(
            *(decide(native.database, "wang", task=task) for _ in range(3)),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in outcomes) == [
            "TaskDecided", "TaskDecided", "tuple",
        ]  # fmt: skip


async def test_decisions_in_the_oa_run_the_whole_road(delegated, say) -> None:
    requested, _ = await delegated.take(say.submitted())
    assert (requested.mode, requested.tenant) == (Mode.DELEGATED, "flowable")
    facts = await delegated.take(say.oa_decision(1, "wang"), say.oa_decision(2, "he"))
    assert kinds(facts) == [
        ApprovalTaskDecided, ApprovalTaskAssigned, ApprovalTaskDecided, ApprovalDecided,
    ]  # fmt: skip
    assert facts[0].via == "flowable"
    assert facts[-1].outcome is Outcome.APPROVED
    assert await delegated.take(closed("approved")) == ()


async def test_the_same_decision_again_is_nothing(delegated, say) -> None:
    await delegated.take(say.submitted())
    await delegated.take(say.oa_decision())
    assert await delegated.take(say.oa_decision()) == ()
    assert await delegated.take(say.oa_decision(decision="reject")) == ()
    assert (await waiting(delegated.database)).step == 2


async def test_a_later_step_before_the_earlier_one_is_refused(delegated, say) -> None:
    await delegated.take(say.submitted())
    with pytest.raises(Reject, match="step 2 was decided in the OA before step 1"):
        await delegated.take(say.oa_decision(2, "he"))


@pytest.mark.parametrize("changes", [{"revision": 2}, {"tenant": "other"}, {"document_id": "C9"}])
async def test_a_decision_on_what_was_never_given_to_that_oa_is_refused(
    delegated, say, changes
) -> None:
    await delegated.take(say.submitted())
    with pytest.raises(Reject, match="no approval"):
        await delegated.take(say.oa_decision(**changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decision": "UNKNOWN"}, "a decision that we do not know"),
        ({"decision": "auto-pass"}, "a decision that we do not know"),
        ({"by": "stranger"}, "stranger decided in the OA and is no employee"),
        ({"by": "lin"}, "the submitter decided in the OA"),
        ({"content_hash": "b2" * 32}, "the OA showed another content"),
    ],
)
async def test_a_doubtful_decision_never_counts_and_a_person_must_look(
    delegated, say, changes, why
) -> None:
    await delegated.take(say.submitted())
    facts = await delegated.take(say.oa_decision(**changes))
    assert kinds(facts) == [ApprovalTaskAssigned]
    assert facts[0].assignee_id == "luo"
    task = await waiting(delegated.database)
    assert task.found.for_administrator
    assert why in task.found.rule


async def test_an_employee_to_whom_the_oa_gave_the_task_may_decide(delegated, say) -> None:
    await delegated.take(say.submitted())
    decided, _ = await delegated.take(say.oa_decision(by="chen"))
    assert decided.decided_by == "chen"
    assert (await seen(delegated.database)).tasks[0].found.approver_id == "wang"


async def test_someone_who_left_cannot_decide_in_the_oa_for_another(delegated, say) -> None:
    await delegated.take(say.employee("chen", status="left"))
    await delegated.take(say.submitted())
    assert kinds(await delegated.take(say.oa_decision(by="chen"))) == [ApprovalTaskAssigned]


@pytest.mark.parametrize(
    "status", ["vanished", "UNKNOWN", "withdrawn", "approved", "rejected", "archived"]
)
async def test_a_process_that_ends_without_our_knowing_why_needs_a_person(
    delegated, say, status
) -> None:
    await delegated.take(say.submitted())
    (asked,) = await delegated.take(closed(status))
    assert asked.assignee_id == "luo"
    assert (await seen(delegated.database)).status is Status.OPEN
    assert await delegated.take(closed(status)) == ()


async def test_after_the_oa_failed_tonglu_decides_the_rest(delegated, say) -> None:
    await delegated.take(say.submitted())
    drift = OADriftDetected(
        document_id="C1", revision=1, tenant="flowable", instance_id="P1", drift="vanished",
        detail="gone", detected_at="2026-11-24T08:00:00Z",
    )  # fmt: skip
    assert kinds(await delegated.take(drift)) == [ApprovalTaskAssigned]
    assert await delegated.take(say.oa_decision()) == ()
    await decide(delegated.database, "sun")  # any administrator, not only the one who was asked
    facts = await decide(delegated.database, "he")
    assert facts[-1].outcome is Outcome.APPROVED
    taken = await seen(delegated.database)
    assert (taken.mode, taken.tenant) == (Mode.NATIVE, "flowable")


async def test_a_leavers_open_task_goes_to_the_leavers_manager(native, say) -> None:
    await native.take(say.submitted())
    old = await waiting(native.database)
    (asked,) = await native.take(say.employee("wang", status="left"))
    assert (asked.assignee_id, asked.step) == ("chen", 1)
    assert "line_manager(wang)" in (await waiting(native.database)).found.rule
    with pytest.raises(TaskCancelled):
        await decide(native.database, "wang", task=old.task_id)
    assert kinds(await decide(native.database, "chen")) == [
        ApprovalTaskDecided, ApprovalTaskAssigned,
    ]  # fmt: skip


async def test_a_leavers_task_never_goes_to_the_submitter(native, say) -> None:
    await native.take(say.employee("he", manager_id="lin"))
    await native.take(say.submitted())
    await decide(native.database, "wang")
    (asked,) = await native.take(say.employee("he", manager_id="lin", status="left"))
    assert asked.assignee_id == "luo"


async def test_a_leavers_task_in_the_oa_is_the_oas(delegated, say) -> None:
    await delegated.take(say.submitted())
    assert await delegated.take(say.employee("wang", status="left")) == ()


async def test_with_no_one_left_a_leavers_task_waits_for_an_administrator(native, say) -> None:
    await native.take(*(say.employee(one, roles=()) for one in ("luo", "sun")))
    await native.take(say.submitted())
    assert await native.take(say.employee("wang", manager_id=None, status="left")) == ()
    (asked,) = await native.take(say.employee("luo"))
    assert asked.assignee_id == "luo"


async def test_an_administrators_task_goes_to_another_administrator(delegated, say) -> None:
    await delegated.take(say.submitted())
    await delegated.take(closed("vanished"))
    (asked,) = await delegated.take(say.employee("luo", status="left"))
    assert asked.assignee_id == "sun"


async def test_a_planned_approver_who_has_left_since_is_not_asked(native, say) -> None:
    await native.take(say.submitted())
    await native.take(say.employee("he", status="left"))
    _, asked = await decide(native.database, "wang")
    assert (asked.assignee_id, asked.step) == ("chen", 2)


async def test_facts_follow_from_the_event_that_led_to_them(native, say, bare_database) -> None:
    await native.take(say.submitted("C1"), say.submitted("C2"))
    await native.take(say.employee("wang", status="left"))
    rows = await bare_database.pool.fetch(
        "SELECT key, headers ->> 'ce_correlationid' AS road, headers ->> 'ce_causationid' AS cause"
        " FROM outbox"
    )
    assert all(row["road"] == row["key"] and row["cause"] for row in rows)
    assert len({row["cause"] for row in rows}) == 3


async def test_a_running_approval_keeps_the_definition_it_began_with(native, say) -> None:
    await native.take(say.submitted())
    steps = [{"name": "财务", "approver": {"rule": "role", "role": "finance"}}]
    await native.use(say.definition(version=2, steps=steps))
    _, asked = await decide(native.database, "wang")
    assert asked.step == 2
    requested, _ = await native.take(say.submitted("C2"))
    assert requested.definition == "travel-claim@2"
    assert len(requested.route) == 1


async def test_the_same_definition_again_is_nothing_and_another_one_is_refused(native, say) -> None:
    await native.use(say.definition())
    with pytest.raises(handlers.DefinitionChanged, match=r"travel-claim@1.*raise its version"):
        await native.use(say.definition("delegated"))


async def test_what_was_decided_cannot_be_decided_again(native, say) -> None:
    await native.take(say.submitted())
    task = (await waiting(native.database)).task_id
    await decide(native.database, "wang")
    with pytest.raises(TaskDecided) as refused:
        await decide(native.database, "wang", task=task)
    assert (refused.value.decided_by, refused.value.via) == ("wang", "tonglu")


async def test_the_last_state_of_a_person_in_a_batch_counts(native, say, bare_database) -> None:
    await native.take(
        say.employee("new", roles=("a, b", "c")), say.employee("new", manager_id="chen")
    )
    await native.take(say.department("D9"), say.department("D9", head_id="new"))
    async with bare_database.transaction() as tx:
        directory = await store.directory_around(tx, [EmployeeId("new")])
    assert directory.people[EmployeeId("new")].manager_id == "chen"
    assert directory.people[EmployeeId("new")].roles == frozenset()
