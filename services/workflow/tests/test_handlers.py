"""Events and decisions on a real PostgreSQL: what is kept, what is said, and who wins a race."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from chassis import Database, Reject, Retry
from chassis.testing import until_one_waits_for_a_lock
from events import DocumentId, EmployeeId, InstanceId, Money, TaskId, TenantId
from events.claims import ClaimWithdrawn
from events.directory import EmploymentStatus
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
)
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Closing,
    Decision,
    Mode,
    Outcome,
)
from workflow.approval import handlers, store
from workflow.approval.domain import (
    TONGLU,
    Approval,
    Status,
    TaskCancelled,
    TaskDecided,
    Verdict,
)
from workflow.definition.handlers import import_definitions

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
HASH = "ab" * 32
DOCUMENT = DocumentId("c-1")
OA = TenantId("oa")


async def latest(database: Database) -> Approval:
    async with database.transaction() as tx:
        found = await store.of_document(tx, DOCUMENT, None)
    assert found is not None
    return found


def types(facts) -> list[type]:
    return [type(fact) for fact in facts]


def about(fact_type, **said):
    where = {"document_id": DOCUMENT, "revision": 1, "tenant": OA, "instance_id": InstanceId("i")}
    return fact_type(**(where | said))


def oa_decision(step: int = 1, by: str = "wang", **changed) -> OADecisionReceived:
    said = {"decision": Decision.APPROVE, "content_hash": HASH, "decided_at": NOW}
    return about(OADecisionReceived, step=step, decided_by=EmployeeId(by), **(said | changed))


def oa_closed(status: InstanceStatus) -> OAInstanceClosed:
    return about(OAInstanceClosed, status=status, closed_at=NOW)


def oa_drift() -> OADriftDetected:
    return about(OADriftDetected, drift=Drift.CONTENT_MISMATCH, detail="", detected_at=NOW)


def withdrawal(revision: int = 1) -> ClaimWithdrawn:
    return ClaimWithdrawn(
        claim_id=DOCUMENT, revision=revision, employee_id=EmployeeId("lin"), withdrawn_at=NOW
    )


def by(who: str, decision: Decision = Decision.APPROVE, opinion: str | None = None) -> Verdict:
    return Verdict(decision, EmployeeId(who), TONGLU, HASH, NOW, opinion)


async def test_submission_is_requested_and_asked_in_one_transaction(database, submitted) -> None:
    request, asked = await submitted()
    assert isinstance(request, ApprovalRequested)
    assert isinstance(asked, ApprovalTaskAssigned)
    assert asked.assignee_id == "wang"
    kept = await latest(database)
    assert (kept.status, kept.mode, kept.definition) == (
        Status.OPEN,
        Mode.NATIVE,
        "travel-claim@1",
    )
    assert [planned.found[0].rule for planned in kept.route] == [
        "line_manager(lin)",
        "role(finance)",
    ]
    assert kept.total == Money(amount=Decimal("120.50"), currency="CNY")
    assert str(kept.total.amount) == "120.50"


async def test_claim_of_someone_unknown_or_without_a_definition_waits(
    database, do, hand_in, definition, claim
) -> None:
    with pytest.raises(Retry, match="no definition"):
        await hand_in(claim())
    await do(import_definitions, [definition()])
    with pytest.raises(Retry, match="does not know new yet") as unknown:
        await hand_in(claim(employee_id=EmployeeId("new")))
    # The claims of others wait for the directory only so long.
    assert unknown.value.at_most is not None


async def test_step_that_no_one_can_take_waits(database, hire, submitted, employee) -> None:
    await hire(employee("ada", "chen"), employee("lin", None))
    with pytest.raises(Retry, match="role admin"):
        await submitted()


async def test_resubmission_closes_the_old_approval_and_opens_its_own(
    database, do, hand_in, submitted, claim
) -> None:
    await submitted()
    facts = await hand_in(claim(revision=2, content_hash="cd" * 32))
    assert types(facts) == [
        ApprovalTaskClosed,
        ApprovalCancelled,
        ApprovalRequested,
        ApprovalTaskAssigned,
    ]
    assert [fact.revision for fact in facts] == [1, 1, 2, 2]
    kept = await latest(database)
    assert (kept.revision, kept.status) == (2, Status.OPEN)
    with pytest.raises(TaskCancelled):
        await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))


async def test_first_decision_in_the_oa_counts_and_its_repeat_does_not(
    database, do, submitted
) -> None:
    await submitted(tenant="oa")
    said, asked = await do(handlers.on_oa_decision, oa_decision())
    assert (said.via, said.decided_by, said.decided_at) == ("oa", "wang", NOW)
    assert asked.assignee_id == "zhao"
    assert asked.assigned_at > NOW  # our clock, not the OA's
    assert await do(handlers.on_oa_decision, oa_decision()) == ()
    facts = await do(handlers.on_oa_decision, oa_decision(2, "zhao"))
    assert types(facts) == [ApprovalTaskDecided, ApprovalDecided]
    assert (await latest(database)).status is Status.APPROVED
    assert await do(handlers.on_oa_closed, oa_closed(InstanceStatus.APPROVED)) == ()


async def test_return_in_the_oa_needs_no_opinion(database, do, submitted) -> None:
    await submitted(tenant="oa")
    _, ended = await do(handlers.on_oa_decision, oa_decision(decision=Decision.RETURN))
    assert ended.outcome is Outcome.RETURNED


@pytest.mark.parametrize(
    ("tenant", "decision"),
    [
        ("oa", oa_decision(2, "zhao")),
        ("oa", oa_decision(tenant=TenantId("other"))),
        ("oa", oa_decision(revision=2)),
        (None, oa_decision()),
    ],
)
async def test_decision_that_belongs_to_no_open_step_of_that_oa_is_rejected(
    database, do, submitted, tenant, decision
) -> None:
    await submitted(tenant=tenant)
    before = await latest(database)
    with pytest.raises(Reject):
        await do(handlers.on_oa_decision, decision)
    assert await latest(database) == before


DOUBTS = {
    "unknown decision": (handlers.on_oa_decision, oa_decision(decision=Decision.UNKNOWN)),
    "stranger": (handlers.on_oa_decision, oa_decision(by="nobody")),
    "not asked": (handlers.on_oa_decision, oa_decision(by="zhao")),
    "submitter": (handlers.on_oa_decision, oa_decision(by="lin")),
    "other content": (handlers.on_oa_decision, oa_decision(content_hash="0" * 64)),
    "drift": (handlers.on_oa_drift, oa_drift()),
} | {f"closed {status}": (handlers.on_oa_closed, oa_closed(status)) for status in InstanceStatus}


@pytest.mark.parametrize("doubt", DOUBTS)
async def test_doubt_about_the_oa_is_for_an_administrator_and_then_the_oa_counts_no_more(
    database, do, submitted, doubt
) -> None:
    await submitted(tenant="oa")
    handler, event = DOUBTS[doubt]
    closed, asked = await do(handler, event)
    assert (closed.closing, closed.assignee_id) == (Closing.REROUTED, "wang")
    assert (asked.assignee_id, asked.step) == ("ada", 1)
    assert await do(handlers.on_oa_decision, oa_decision()) == ()
    assert await do(handlers.on_oa_drift, oa_drift()) == ()
    kept = await latest(database)
    assert kept.route[0].found[0].rule.startswith("administrator (")
    await do(handlers.decide_task, asked.task_id, by("ada"))
    assert await do(handlers.on_oa_closed, oa_closed(InstanceStatus.APPROVED)) == ()
    _, ended = await do(handlers.decide_task, TaskId("c-1.1.2.1"), by("zhao"))
    assert ended.outcome is Outcome.APPROVED


@pytest.mark.parametrize("drift", [Drift.GHOST, Drift.LOST_PUSH, Drift.MISSED_CALLBACK])
async def test_difference_that_says_nothing_against_the_process_leaves_it_to_decide(
    database, do, submitted, drift
) -> None:
    await submitted(tenant="oa")
    beside = oa_drift().model_copy(update={"drift": drift})
    assert await do(handlers.on_oa_drift, beside) == ()
    assert await do(handlers.on_oa_decision, oa_decision()) != ()


async def test_end_of_the_oas_process_takes_back_nothing_that_was_decided_here(
    database, do, submitted
) -> None:
    await submitted(tenant="oa")
    await do(handlers.on_oa_decision, oa_decision())
    _, asked = await do(handlers.on_oa_drift, oa_drift())
    await do(handlers.decide_task, asked.task_id, by("ada"))
    assert (await latest(database)).status is Status.APPROVED
    assert await do(handlers.on_oa_closed, oa_closed(InstanceStatus.REJECTED)) == ()
    assert (await latest(database)).status is Status.APPROVED


async def test_assignee_who_has_left_does_not_decide_in_the_oa(
    database, do, hire, submitted, employee
) -> None:
    await submitted(tenant="oa")
    assert await hire(employee("wang", "chen", status=EmploymentStatus.LEFT)) == ()
    _, asked = await do(handlers.on_oa_decision, oa_decision())
    assert asked.assignee_id == "ada"


async def test_doubt_waits_where_there_is_no_administrator(
    database, do, hire, submitted, employee
) -> None:
    await submitted(tenant="oa")
    await hire(employee("ada", "chen"))
    with pytest.raises(Retry, match="role admin"):
        await do(handlers.on_oa_drift, oa_drift())


async def test_withdrawal_calls_the_approval_off_once(database, do, hand_in, submitted) -> None:
    await submitted()
    assert await hand_in(withdrawal(2)) == ()
    closed, fact = await hand_in(withdrawal())
    assert (closed.closing, closed.assignee_id) == (Closing.ENDED, "wang")
    assert isinstance(fact, ApprovalCancelled)
    assert await hand_in(withdrawal()) == ()
    assert (await latest(database)).status is Status.CANCELLED
    with pytest.raises(TaskCancelled):
        await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))


@pytest.mark.parametrize("is_withdrawn_first", [True, False])
async def test_of_a_withdrawal_and_a_decision_at_once_exactly_one_wins(
    database, do, submitted, received, is_withdrawn_first
) -> None:
    await submitted("line_manager")
    withdraw = handlers.on_claims, received([withdrawal()])
    decide = handlers.decide_task, TaskId("c-1.1.1.1"), by("wang")
    first, second = (withdraw, decide) if is_withdrawn_first else (decide, withdraw)
    async with database.transaction() as tx:
        await first[0](tx, *first[1:])
        late = asyncio.ensure_future(do(*second))
        await until_one_waits_for_a_lock(database)
    if is_withdrawn_first:
        with pytest.raises(TaskCancelled):
            await late
        assert (await latest(database)).status is Status.CANCELLED
    else:
        assert await late == ()
        assert (await latest(database)).status is Status.APPROVED


async def test_many_decisions_on_a_task_at_once_count_as_one(database, do, submitted) -> None:
    await submitted("line_manager")
    verdicts = [by("wang"), by("wang", Decision.REJECT, "否")] * 2
    results = await asyncio.gather(
        *(do(handlers.decide_task, TaskId("c-1.1.1.1"), one) for one in verdicts),
        return_exceptions=True,
    )
    assert sum(isinstance(result, TaskDecided) for result in results) == 3


async def test_task_of_a_leaver_goes_up_the_line(database, do, hire, submitted, employee) -> None:
    await submitted()
    _, asked = await hire(employee("wang", "chen", status=EmploymentStatus.LEFT))
    assert (asked.task_id, asked.assignee_id) == ("c-1.1.1.2", "chen")
    with pytest.raises(TaskCancelled):
        await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    assert (await latest(database)).tasks[1].rule == "line_manager(wang)"


async def test_reroute_is_caused_by_the_leaver_on_the_road_of_the_document(
    database, hire, submitted, employee
) -> None:
    await submitted()
    await hire(employee("wei", "wang"), employee("wang", "chen", status=EmploymentStatus.LEFT))
    async with database.transaction() as tx:
        headers = await tx.fetchval("SELECT headers::text FROM outbox ORDER BY seq DESC LIMIT 1")
    assert '"ce_correlationid": "c-1"' in headers
    assert "ce_causationid" in headers


async def test_task_of_a_leaver_never_goes_to_the_submitter(
    database, hire, submitted, employee, claim
) -> None:
    await submitted("department_head", of=claim(employee_id=EmployeeId("chen")))
    _, asked = await hire(employee("wang", "chen", status=EmploymentStatus.LEFT))
    assert asked.assignee_id == "ada"


async def test_task_of_a_leaver_waits_for_an_administrator_without_holding_up_the_directory(
    database, hire, submitted, employee
) -> None:
    await submitted()
    left = employee("wang", None, status=EmploymentStatus.LEFT)
    assert await hire(employee("ada", "chen"), left) == ()
    _, asked = await hire(employee("bo", "chen", "admin"))
    assert asked.assignee_id == "bo"


async def test_next_step_is_not_asked_of_someone_who_has_left(
    database, do, hire, submitted, employee
) -> None:
    await submitted()
    assert await hire(employee("zhao", "chen", status=EmploymentStatus.LEFT)) == ()
    _, asked = await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    assert (asked.task_id, asked.assignee_id) == ("c-1.1.2.1", "chen")


async def test_running_approval_keeps_its_version(database, do, submitted, definition) -> None:
    await submitted()
    await do(import_definitions, [definition("line_manager", version=2)])
    _, asked = await do(handlers.decide_task, TaskId("c-1.1.1.1"), by("wang"))
    assert asked.assignee_id == "zhao"
    assert (await latest(database)).definition == "travel-claim@1"


async def test_inbox_of_a_thousand_tasks_is_read_by_its_index(database, submitted) -> None:
    await submitted()
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO task (task_id, document_id, revision, step, name, assignee_id, native,"
            " status, assigned_at) SELECT 't' || n, 'c-1', 1, 1, 's', 'p' || n % 20, true, 'open',"
            " now() FROM generate_series(1, 20000) n"
        )
        await tx.execute("ANALYZE task")
        plan = await tx.fetch(f"EXPLAIN {store.INBOX}", None, 50, TONGLU, "p7")
        assert "task_inbox" in "\n".join(row[0] for row in plan)
        assert len(await store.inbox(tx, EmployeeId("p7"), None, 50)) == 50
