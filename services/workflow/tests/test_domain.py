"""Whom a route names and why, and what each move does to an approval, without any I/O."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from events import (
    MAX_PAYLOAD_BYTES,
    DepartmentId,
    DocumentId,
    EmployeeId,
    Envelope,
    EventId,
    Money,
)
from events.claims import ExpenseLine, Severity, Violation
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Decision,
    DocumentKind,
    Mode,
    Outcome,
)
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7
from workflow.domain import (
    TONGLU,
    Approval,
    Approver,
    ContentChanged,
    DecideInOA,
    DecisionUnknown,
    Department,
    Directory,
    Found,
    NoAdministrator,
    NotAsked,
    OpinionMissing,
    Person,
    PlannedStep,
    Rule,
    Status,
    TaskCancelled,
    TaskDecided,
    TaskStatus,
    Verdict,
    find_approver,
    find_successor,
    plan,
    requested,
)

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
HASH = "ab" * 32
LINE_MANAGER, HEAD = Approver(rule=Rule.LINE_MANAGER), Approver(rule=Rule.DEPARTMENT_HEAD)
FINANCE = Approver(rule=Rule.ROLE, role="finance")


def a_person(id_: str, manager: str | None = None, *roles: str, is_active: bool = True) -> Person:
    boss = EmployeeId(manager) if manager else None
    return Person(EmployeeId(id_), DepartmentId("D2"), boss, frozenset(roles), is_active)


LIN = a_person("lin", "wang")
PEOPLE = (
    LIN,
    a_person("wang", "chen"),
    a_person("chen"),
    a_person("zhao", "chen", "finance"),
    a_person("ada", "chen", "admin"),
)


def a_directory(*changed: Person, heads: tuple[str | None, str | None] = ("chen", "wang")):
    people = {person.employee_id: person for person in (*PEOPLE, *changed)}
    top, below = DepartmentId("D1"), DepartmentId("D2")
    departments = {
        top: Department(top, None, EmployeeId(heads[0]) if heads[0] else None),
        below: Department(below, top, EmployeeId(heads[1]) if heads[1] else None),
    }
    return Directory(people, departments)


@pytest.mark.parametrize(
    ("approver", "who", "rule"),
    [
        (LINE_MANAGER, "wang", "line_manager(lin)"),
        (HEAD, "wang", "department_head(D2)"),
        (FINANCE, "zhao", "role(finance)"),
    ],
)
def test_approver_is_found_by_the_rule_and_the_rule_is_kept(approver, who, rule) -> None:
    assert find_approver(approver, LIN, a_directory()) == Found(EmployeeId(who), rule)


@pytest.mark.parametrize("heads", [("chen", None), ("chen", "lin")])
def test_head_is_looked_for_up_the_tree(heads) -> None:
    assert find_approver(HEAD, LIN, a_directory(heads=heads)).approver_id == "chen"


@pytest.mark.parametrize(
    ("approver", "submitter", "directory", "why"),
    [
        (LINE_MANAGER, a_person("lin"), a_directory(), "no one"),
        (LINE_MANAGER, a_person("lin", "nobody"), a_directory(), "nobody is not here"),
        (LINE_MANAGER, a_person("lin", "lin"), a_directory(), "the submitter"),
        (
            LINE_MANAGER,
            LIN,
            a_directory(a_person("wang", "chen", is_active=False)),
            "wang is not here",
        ),
        (HEAD, LIN, a_directory(heads=(None, None)), "no one"),
        (HEAD, LIN, a_directory(a_person("wang", is_active=False)), "wang is not here"),
        (HEAD, LIN, a_directory(heads=("nobody", None)), "nobody is not here"),
        (FINANCE, LIN, a_directory(a_person("zhao", "chen")), "no one"),
        (FINANCE, LIN, a_directory(a_person("zhao", None, "finance", is_active=False)), "no one"),
        (FINANCE, a_person("zhao", "chen", "finance"), a_directory(), "no one"),
    ],
)
def test_step_without_a_present_approver_goes_to_an_administrator(
    approver, submitter, directory, why
) -> None:
    found = find_approver(approver, submitter, directory)
    assert (found.approver_id, found.by_administrator) == ("ada", True)
    assert found.rule.startswith("administrator (")
    assert found.rule.endswith(f": {why})")


def test_circle_of_departments_ends_at_an_administrator() -> None:
    one, two = DepartmentId("D1"), DepartmentId("D2")
    circle = {one: Department(one, two, None), two: Department(two, one, None)}
    directory = replace(a_directory(), departments=circle)
    assert find_approver(HEAD, LIN, directory).approver_id == "ada"


@pytest.mark.parametrize(
    "directory",
    [a_directory(a_person("ada")), a_directory(a_person("ada", None, "admin", is_active=False))],
)
def test_step_that_no_one_can_take_is_refused(directory) -> None:
    with pytest.raises(NoAdministrator):
        find_approver(FINANCE, a_person("zhao", None, "finance"), directory)


def test_administrator_does_not_take_a_step_of_an_own_document() -> None:
    with pytest.raises(NoAdministrator):
        find_approver(LINE_MANAGER, a_person("ada", None, "admin"), a_directory())


def test_same_holder_of_a_role_is_asked_each_time() -> None:
    directory = a_directory(a_person("bao", None, "finance"))
    assert {find_approver(FINANCE, LIN, directory).approver_id for _ in range(5)} == {"bao"}


ids = st.sampled_from(["a", "b", "c", "d"])
companies = st.dictionaries(
    ids, st.tuples(st.none() | ids, st.booleans(), st.sets(st.sampled_from(["finance", "admin"])))
)


@given(companies, ids, st.none() | ids, st.none() | ids)
def test_in_any_company_an_approver_is_present_and_is_not_the_submitter(
    company, submitter, top, head
) -> None:
    directory = a_directory(
        *(
            a_person(id_, manager, *roles, is_active=here)
            for id_, (manager, here, roles) in company.items()
        ),
        heads=(top, head),
    )
    person = directory.people.get(EmployeeId(submitter)) or a_person(submitter)
    for approver in (LINE_MANAGER, HEAD, FINANCE):
        try:
            found = find_approver(approver, person, directory)
        except NoAdministrator:
            continue
        assert directory.people[found.approver_id].is_active
        assert found.approver_id != submitter


def test_leaver_is_followed_by_the_own_manager_but_never_by_the_submitter() -> None:
    directory, leaver = a_directory(), a_person("wang", "chen", is_active=False)
    assert find_successor(leaver, LIN.employee_id, directory).approver_id == "chen"
    found = find_successor(leaver, EmployeeId("chen"), directory)
    assert (found.approver_id, found.by_administrator) == ("ada", True)


@pytest.fixture
def begun(definition, claim):
    """An approval that waits for its first step; `tenant`: in that OA."""

    def begin(*rules: str, tenant: str | None = None) -> Approval:
        one = definition(*rules, tenant=tenant)
        return requested(one, claim(), plan(one, LIN, a_directory()), NOW)[0]

    return begin


def a_verdict(approval: Approval, decision: Decision = Decision.APPROVE, **changed) -> Verdict:
    assert approval.current is not None
    verdict = Verdict(decision, approval.current.assignee_id, TONGLU, HASH, NOW, "因为")
    return replace(verdict, **changed)


def decide(approval: Approval, *decisions: Decision):
    """The approval after these decisions, and the facts of the last one."""
    facts = ()
    for decision in decisions:
        approval, facts = approval.decided(approval.current, a_verdict(approval, decision), LATER)
    return approval, facts


def test_request_names_every_step_with_its_reason_and_asks_the_first(definition, claim) -> None:
    one = definition("line_manager", "department_head", "finance")
    approval, facts = requested(one, claim(), plan(one, LIN, a_directory()), NOW)
    request, asked = facts
    assert isinstance(request, ApprovalRequested)
    assert [(step.step, step.approver_id, step.rule) for step in request.route] == [
        (1, "wang", "line_manager(lin)"),
        (2, "wang", "department_head(D2)"),
        (3, "zhao", "role(finance)"),
    ]
    assert (request.definition, request.content_hash) == ("travel-claim@1", HASH)
    assert isinstance(asked, ApprovalTaskAssigned)
    assert (asked.task_id, asked.assignee_id, asked.step) == ("c-1.1.1.1", "wang", 1)
    assert approval.current is not None
    assert approval.current.task_id == asked.task_id


@pytest.mark.parametrize(
    ("people", "mode", "tenant"),
    [((), Mode.DELEGATED, "oa"), ((a_person("wang", is_active=False),), Mode.NATIVE, None)],
)
def test_route_runs_in_the_oa_unless_it_needs_an_administrator(
    definition, claim, people, mode, tenant
) -> None:
    one = definition(tenant="oa")
    approval, _ = requested(one, claim(), plan(one, LIN, a_directory(*people)), NOW)
    assert (approval.mode, approval.tenant) == (mode, tenant)
    assert approval.runs_here is (mode is Mode.NATIVE)


def test_agreement_to_the_last_step_is_the_approval(begun) -> None:
    approval, (said, asked) = decide(begun(), Decision.APPROVE)
    assert isinstance(said, ApprovalTaskDecided)
    assert isinstance(asked, ApprovalTaskAssigned)
    assert (asked.assignee_id, asked.assigned_at, approval.status) == ("zhao", LATER, Status.OPEN)
    approval, (said, ended) = decide(approval, Decision.APPROVE)
    assert isinstance(said, ApprovalTaskDecided)
    assert isinstance(ended, ApprovalDecided)
    assert (ended.outcome, approval.status) == (Outcome.APPROVED, Status.APPROVED)
    assert approval.current is None


@pytest.mark.parametrize("before", [(), (Decision.APPROVE,)])
@pytest.mark.parametrize(
    ("decision", "outcome"),
    [(Decision.REJECT, Outcome.REJECTED), (Decision.RETURN, Outcome.RETURNED)],
)
def test_one_refusal_ends_it_at_any_step(begun, before, decision, outcome) -> None:
    approval, (said, ended) = decide(begun(), *before, decision)
    assert (said.decision, ended.outcome) == (decision, outcome)
    assert (approval.status.value, approval.current) == (outcome.value, None)


# Each way in which an approval can stand, and the state of its last task.
STANDINGS = {
    "waits": ((), False, TaskStatus.OPEN),
    "waits for the second": ((Decision.APPROVE,), False, TaskStatus.OPEN),
    "approved": ((Decision.APPROVE,) * 2, False, TaskStatus.DECIDED),
    "rejected": ((Decision.REJECT,), False, TaskStatus.DECIDED),
    "returned": ((Decision.RETURN,), False, TaskStatus.DECIDED),
    "cancelled": ((), True, TaskStatus.CANCELLED),
}


@pytest.mark.parametrize("standing", STANDINGS)
@pytest.mark.parametrize("move", ["decide", "cancel", "hand over"])
def test_only_what_is_open_moves(begun, standing, move) -> None:
    decisions, is_cancelled, state = STANDINGS[standing]
    approval, _ = decide(begun(), *decisions)
    if is_cancelled:
        approval, _ = approval.cancelled(NOW)
    last = approval.tasks[-1]
    assert last.status is state
    if move == "decide" and state is not TaskStatus.OPEN:
        refusal = TaskDecided if state is TaskStatus.DECIDED else TaskCancelled
        with pytest.raises(refusal):
            approval.decided(
                last, Verdict(Decision.APPROVE, last.assignee_id, TONGLU, HASH, NOW), NOW
            )
        return
    found = Found(EmployeeId("ada"), "administrator (test)", by_administrator=True)
    after, facts = {
        "decide": lambda: decide(approval, Decision.REJECT),
        "cancel": lambda: approval.cancelled(LATER),
        "hand over": lambda: approval.handed_to(found, LATER),
    }[move]()
    if state is not TaskStatus.OPEN:
        assert (after, facts) == (approval, ())
        return
    kind = {
        "decide": ApprovalDecided,
        "cancel": ApprovalCancelled,
        "hand over": ApprovalTaskAssigned,
    }[move]
    assert isinstance(facts[-1], kind)
    assert (after.status is Status.OPEN) is (move == "hand over")
    assert sum(task.status is TaskStatus.OPEN for task in after.tasks) == (move == "hand over")


@given(st.lists(st.sampled_from(["approve", "reject", "return", "cancel", "hand over"])))
def test_at_most_one_task_is_open_and_an_end_is_said_once(moves) -> None:
    approval, facts = _an_approval().asked(1, NOW)
    said = list(facts)
    for move in moves:
        if approval.current is None:
            break
        if move == "cancel":
            approval, facts = approval.cancelled(NOW)
        elif move == "hand over":
            approval, facts = approval.handed_to(Found(EmployeeId("ada"), "administrator (x)"), NOW)
        else:
            approval, facts = decide(approval, Decision(move))
        said += facts
        assert sum(task.status is TaskStatus.OPEN for task in approval.tasks) <= 1
        assert (approval.current is None) is (approval.status is not Status.OPEN)
    ends = [fact for fact in said if isinstance(fact, ApprovalDecided | ApprovalCancelled)]
    assert len(ends) == (approval.status is not Status.OPEN)
    ids_ = [task.task_id for task in approval.tasks]
    assert len(set(ids_)) == len(ids_)


def _an_approval() -> Approval:
    return Approval(
        document_id=DocumentId("c-1"),
        revision=1,
        kind=DocumentKind.CLAIM,
        definition="travel-claim@1",
        mode=Mode.NATIVE,
        tenant=None,
        submitter_id=LIN.employee_id,
        title="",
        total=Money(amount=Decimal(1), currency="CNY"),
        content_hash=HASH,
        route=tuple(
            PlannedStep(n, f"step {n}", Found(EmployeeId(id_), "test"))
            for n, id_ in enumerate(("wang", "zhao"), start=1)
        ),
    )


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"by": EmployeeId("zhao")}, NotAsked),
        ({"by": EmployeeId("lin")}, NotAsked),
        ({"decision": Decision.UNKNOWN}, DecisionUnknown),
        ({"content_hash": "0" * 64}, ContentChanged),
        ({"decision": Decision.REJECT, "opinion": None}, OpinionMissing),
        ({"decision": Decision.RETURN, "opinion": ""}, OpinionMissing),
    ],
)
def test_decision_that_cannot_count_is_refused(begun, changed, refusal) -> None:
    approval = begun()
    with pytest.raises(refusal):
        approval.decided(approval.current, a_verdict(approval, **changed), NOW)


def test_agreement_and_a_refusal_in_the_oa_need_no_opinion(begun) -> None:
    approval = begun(tenant="oa")
    verdict = a_verdict(approval, Decision.REJECT, via="oa", opinion=None)
    assert approval.decided(approval.current, verdict, NOW)[0].status is Status.REJECTED
    approval = begun()
    verdict = a_verdict(approval, opinion=None)
    assert approval.decided(approval.current, verdict, NOW)[0].status is Status.OPEN


def test_what_runs_in_the_oa_is_not_decided_here(begun) -> None:
    approval = begun(tenant="oa")
    with pytest.raises(DecideInOA):
        approval.decided(approval.current, a_verdict(approval), NOW)


def test_once_handed_over_the_rest_of_the_route_runs_here_and_says_why(begun) -> None:
    found = Found(
        EmployeeId("ada"), "administrator (the OA differs: vanished)", by_administrator=True
    )
    approval, (asked,) = begun(tenant="oa").handed_to(found, LATER)
    assert (asked.task_id, asked.assignee_id) == ("c-1.1.1.2", "ada")
    assert approval.route[0].found == found
    assert approval.tasks[0].status is TaskStatus.CANCELLED
    approval, (_, following) = decide(approval, Decision.APPROVE)
    assert following.assignee_id == "zhao"
    assert approval.current is not None
    assert approval.current.native
    assert decide(approval, Decision.APPROVE)[0].status is Status.APPROVED


def money(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="CNY")


def a_line(number: int, city: str | None = "上海") -> ExpenseLine:
    return ExpenseLine(
        line_no=number,
        category="hotel",
        spent_on=date(2026, 11, 20),
        city=city,
        amount=money("680.00"),
    )


def details_of(definition, claim) -> tuple[str, ...]:
    _, (request, _) = requested(definition, claim, plan(definition, LIN, a_directory()), NOW)
    return request.details


def test_approver_reads_what_breaks_a_rule_first(definition, claim) -> None:
    broken = [
        Violation(
            line_no=2, rule_id="hotel", severity=Severity.WARN, limit=money("600.00"), reason="展会"
        ),
        Violation(line_no=2, rule_id="late", severity=Severity.WARN),
    ]
    handed_in = claim(lines=(a_line(1), a_line(2, city=None), a_line(3)), violations=tuple(broken))
    assert details_of(definition(), handed_in) == (
        "hotel 11-20 680.00（超标，标准 600.00；原因：展会）（超标；原因：—）",
        "hotel 11-20 上海 680.00",
        "hotel 11-20 上海 680.00",
    )


def test_largest_claim_fits_into_its_event_and_each_row_into_its_field(definition, claim) -> None:
    lines = tuple(a_line(number, city="城" * 60) for number in range(1, 201))
    broken = tuple(
        Violation(line_no=n, rule_id="r", severity=Severity.WARN, reason="由" * 200)
        for n in range(1, 201)
    )
    one = definition(*["finance"] * 20)
    handed_in = claim(lines=lines, violations=broken, title="题" * 200)
    _, (request, _) = requested(one, handed_in, plan(one, LIN, a_directory()), NOW)
    assert len(request.details) == 200
    assert max(map(len, request.details)) == 200
    envelope = Envelope(
        id=EventId(UUID(str(uuid7()))),
        time=NOW,
        sequence=1,
        correlation_id="c-1",
        event=request,
    )
    assert len(envelope.value()) < MAX_PAYLOAD_BYTES
