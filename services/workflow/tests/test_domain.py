"""Planning and every move, pure: values in, new state and facts out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from events import ContentHash, DepartmentId, DocumentId, EmployeeId, Money, TenantId
from events.workflow import (
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Decision,
    DocumentKind,
    Mode,
    Outcome,
)
from hypothesis import given
from hypothesis import strategies as st
from workflow.domain.approval import (
    TONGLU,
    Approval,
    ContentChanged,
    DecideInOA,
    DecisionDoubtful,
    DecisionTooEarly,
    OpinionMissing,
    OwnDocument,
    PlannedStep,
    Status,
    TaskCancelled,
    TaskDecided,
    TaskStatus,
    Verdict,
)
from workflow.domain.definition import (
    Approver,
    DefinitionInvalid,
    Rule,
    check_one_per_kind,
    parse_definition,
)
from workflow.domain.directory import (
    Department,
    Directory,
    Found,
    NoAdministrator,
    Person,
    find_approver,
    present,
)
from workflow.domain.planning import plan, requested

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HASH, OTHER = ContentHash("a1" * 32), ContentHash("b2" * 32)
LINE_MANAGER = Approver(rule=Rule.LINE_MANAGER)
HEAD = Approver(rule=Rule.DEPARTMENT_HEAD)
FINANCE = Approver(rule=Rule.ROLE, role="finance")
PEOPLE = {
    "chen": ("D1", None, ""),
    "wang": ("D2", "chen", ""),
    "lin": ("D2", "wang", ""),
    "he": ("D3", "chen", "finance"),
    "ma": ("D3", "chen", "finance"),
    "luo": ("D3", "chen", "admin"),
    "sun": ("D3", "chen", "admin"),
}
DEPARTMENTS = {"D1": (None, "chen"), "D2": ("D1", "wang"), "D3": ("D1", "sun")}


def company(**changes: Any) -> Directory:
    """The company, with people (department, manager, role) and departments (parent, head) changed.

    A role that begins with `-` marks someone who has left; None: unknown.
    """
    people = {
        EmployeeId(id_): Person(
            EmployeeId(id_), DepartmentId(d), m and EmployeeId(m), frozenset({r}), r[:1] != "-"
        )
        for id_, (d, m, r) in {**PEOPLE, **_only(changes, of=3)}.items()
        if id_ not in changes or changes[id_] is not None
    }
    departments = {
        DepartmentId(id_): Department(DepartmentId(id_), parent, head)
        for id_, (parent, head) in {**DEPARTMENTS, **_only(changes, of=2)}.items()
        if id_ not in changes or changes[id_] is not None
    }
    return Directory(people, departments)


def _only(changes: dict[str, Any], *, of: int) -> dict[str, Any]:
    return {id_: one for id_, one in changes.items() if one is not None and len(one) == of}


def found(approver: Approver, submitter: str, directory: Directory) -> tuple[str, str]:
    one = find_approver(approver, directory.people[EmployeeId(submitter)], directory)
    return one.approver_id, one.rule


@pytest.mark.parametrize(
    ("approver", "submitter", "expected"),
    [
        (LINE_MANAGER, "lin", ("wang", "line_manager(lin)")),
        (HEAD, "lin", ("wang", "department_head(D2)")),
        (FINANCE, "lin", ("he", "role(finance)")),
        (HEAD, "wang", ("chen", "department_head(D2)")),  # the head's own claim goes up
        (FINANCE, "he", ("ma", "role(finance)")),
        (LINE_MANAGER, "chen", ("luo", "administrator: line_manager(chen): none is named")),
        (HEAD, "chen", ("luo", "administrator: department_head(D1): no one stands above its head")),
    ],
)
def test_each_rule_finds_its_person_and_says_why(approver, submitter, expected) -> None:
    assert found(approver, submitter, company()) == expected


@pytest.mark.parametrize(
    ("changes", "approver", "why"),
    [
        ({"wang": ("D2", "chen", "-")}, LINE_MANAGER, "wang does not work here now"),
        ({"wang": None}, LINE_MANAGER, "wang is not in the directory"),
        ({"lin": ("D2", None, "")}, LINE_MANAGER, "none is named"),
        ({"lin": ("D2", "lin", "")}, LINE_MANAGER, "the line runs in a circle at lin"),
        ({"wang": ("D2", "lin", "")}, LINE_MANAGER, "the line runs in a circle at lin"),
        ({"chen": ("D1", "wang", "")}, LINE_MANAGER, "the line runs in a circle at wang"),
        ({"wang": ("D2", "chen", "-")}, HEAD, "wang does not work here now"),
        ({"D2": ("D1", None)}, HEAD, "none is named"),
        ({"D2": ("D1", "gone")}, HEAD, "gone is not in the directory"),
        ({"D2": None}, HEAD, "D2 is not in the directory"),
        ({"D2": ("D1", "lin"), "D1": ("D2", "lin")}, HEAD, "the departments run in a circle"),
        ({"he": ("D3", None, "-"), "ma": None}, FINANCE, "no one else holds it"),
    ],
)
def test_in_doubt_an_administrator_is_asked_and_told_why(changes, approver, why) -> None:
    directory = company(**changes)
    one = find_approver(approver, directory.people[EmployeeId("lin")], directory)
    assert (one.approver_id, one.for_administrator) == ("luo", True)
    assert why in one.rule


def test_an_administrator_never_takes_a_claim_of_their_own() -> None:
    assert found(LINE_MANAGER, "luo", company(luo=("D3", None, "admin")))[0] == "sun"
    with pytest.raises(NoAdministrator, match="give the role admin to someone else"):
        found(LINE_MANAGER, "luo", company(luo=("D3", None, "admin"), sun=None))


people = st.sampled_from(sorted(PEOPLE))


@given(
    managers=st.fixed_dictionaries({id_: st.none() | people for id_ in PEOPLE}),
    heads=st.fixed_dictionaries({id_: st.none() | people for id_ in DEPARTMENTS}),
    parents=st.fixed_dictionaries(
        {id_: st.none() | st.sampled_from(sorted(DEPARTMENTS)) for id_ in DEPARTMENTS}
    ),
    gone=st.sets(people),
    submitter=people,
    approver=st.sampled_from([LINE_MANAGER, HEAD, FINANCE]),
)
def test_whatever_the_company_looks_like_the_approver_is_here_and_not_the_submitter(
    *, managers, heads, parents, gone, submitter, approver
) -> None:
    directory = company(
        **{i: (PEOPLE[i][0], managers[i], "-" if i in gone else PEOPLE[i][2]) for i in PEOPLE},
        **{i: (parents[i], heads[i]) for i in DEPARTMENTS},
    )
    try:
        one = find_approver(approver, directory.people[EmployeeId(submitter)], directory)
    except NoAdministrator:
        assert {"luo", "sun"} <= {*gone, submitter}
        return
    assert one.approver_id != submitter
    assert directory.people[one.approver_id].is_active


@pytest.mark.parametrize(
    ("changes", "asked", "expected"),
    [
        ({}, "he", "he"),
        ({"he": ("D3", "chen", "-")}, "he", "chen"),
        ({"he": ("D3", None, "-")}, "he", "luo"),
        ({"he": ("D3", "wang", "-"), "wang": ("D2", "chen", "-")}, "he", "luo"),
        ({"he": ("D3", "lin", "-")}, "he", "luo"),  # the manager is the submitter
        ({"he": ("D3", "chen", "-"), "chen": ("D1", "he", "")}, "he", "luo"),  # a circle
        ({"he": None}, "he", "luo"),
    ],
)
def test_who_takes_over_from_a_leaver(changes, asked, expected) -> None:
    one = present(Found(EmployeeId(asked), "role(finance)"), EmployeeId("lin"), company(**changes))
    assert one.approver_id == expected


def test_an_administrators_task_stays_with_administrators() -> None:
    asked = Found(EmployeeId("luo"), "administrator: x", for_administrator=True)
    one = present(asked, EmployeeId("lin"), company(luo=("D3", "chen", "-")))
    assert (one.approver_id, one.for_administrator) == ("sun", True)


def verdict(decision: Decision = Decision.APPROVE, **changes: Any) -> Verdict:
    fields = {
        "decision": decision,
        "by": EmployeeId("wang"),
        "via": TONGLU,
        "content_hash": HASH,
        "decided_at": NOW,
        "opinion": "说明",
    }
    return Verdict(**{**fields, **changes})


def approval(mode: Mode = Mode.NATIVE) -> Approval:
    """Step 1 waits for wang, step 2 will ask he; the submitter is lin."""
    route = tuple(
        PlannedStep(number, name, Found(EmployeeId(by), "rule"))
        for number, (name, by) in enumerate([("上级", "wang"), ("财务", "he")], start=1)
    )
    begun = Approval(
        document_id=DocumentId("C1"),
        revision=1,
        kind=DocumentKind.CLAIM,
        definition="travel-claim@1",
        mode=mode,
        tenant=None if mode is Mode.NATIVE else TenantId("flowable"),
        submitter_id=EmployeeId("lin"),
        title="上海",
        total=Money(amount=Decimal(100), currency="CNY"),
        details=(),
        content_hash=HASH,
        route=route,
    )
    return begun.asked(route[0], route[0].found, NOW)[0]


def at(state: str, mode: Mode = Mode.NATIVE) -> Approval:
    """An approval in this state: at step 1 or 2, or ended in one of the ways."""
    begun = approval(mode)
    task = begun.waiting
    assert task is not None
    if state == "step 1":
        return begun
    if state == "cancelled":
        return begun.cancelled(NOW)[0]
    if state in ("rejected", "returned"):
        no = Decision.REJECT if state == "rejected" else Decision.RETURN
        return begun.decided(task, verdict(no), NOW)[0]
    second = begun.decided(task, verdict(), NOW)[0]
    if state == "step 2":
        return second
    assert second.waiting is not None
    return second.decided(second.waiting, verdict(by=EmployeeId("he")), NOW)[0]


OPEN = ("step 1", "step 2")
ENDED = ("approved", "rejected", "returned", "cancelled")
D, A, E = ApprovalTaskDecided, ApprovalTaskAssigned, ApprovalDecided


@pytest.mark.parametrize(
    ("state", "decision", "facts", "status"),
    [
        ("step 1", Decision.APPROVE, [D, A], Status.OPEN),
        ("step 1", Decision.REJECT, [D, E], Status.REJECTED),
        ("step 1", Decision.RETURN, [D, E], Status.RETURNED),
        ("step 2", Decision.APPROVE, [D, E], Status.APPROVED),
        ("step 2", Decision.REJECT, [D, E], Status.REJECTED),
        ("step 2", Decision.RETURN, [D, E], Status.RETURNED),
    ],
)
def test_a_decision_on_an_open_approval(state, decision, facts, status) -> None:
    before = at(state)
    after, said = before.decided(before.waiting, verdict(decision), NOW)
    assert [type(fact) for fact in said] == facts
    assert after.status is status
    assert (after.waiting is not None) == (status is Status.OPEN)
    if E in facts:
        assert said[-1].outcome is Outcome(status.value)


@pytest.mark.parametrize("decision", [Decision.APPROVE, Decision.REJECT, Decision.RETURN])
@pytest.mark.parametrize("state", ENDED)
def test_an_ended_approval_takes_no_decision(state, decision) -> None:
    ended = at(state)
    for task in ended.tasks:
        with pytest.raises((TaskDecided, TaskCancelled)):
            ended.check_native(task, verdict(decision))
    oa = replace(ended, mode=Mode.DELEGATED, tenant=TenantId("flowable"))
    assert oa.check_from_oa(1, verdict(decision), is_employee=True) is None


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_only_an_open_approval_can_be_cancelled_handed_on_or_taken_over(state) -> None:
    before = at(state, Mode.DELEGATED)
    is_open = state in OPEN
    administrator = Found(EmployeeId("luo"), "administrator: x", for_administrator=True)
    cancelled, said = before.cancelled(NOW)
    assert [type(fact) for fact in said] == ([ApprovalCancelled] if is_open else [])
    assert cancelled.waiting is None
    assert cancelled.status is (Status.CANCELLED if is_open else before.status)
    for move in (before.handed_to, before.taken_over):
        after, said = move(administrator, NOW)
        assert [type(fact) for fact in said] == ([A] if is_open else [])
        assert [task.found.approver_id for task in after.tasks if task is after.waiting] == (
            ["luo"] if is_open else []
        )
        assert after.status is before.status


def test_what_is_handed_on_keeps_its_step_and_gets_a_task_of_its_own() -> None:
    before = at("step 2")
    after, _ = before.handed_to(Found(EmployeeId("chen"), "x"), NOW)
    assert [(task.task_id, task.status) for task in after.tasks] == [
        ("C1.1.1.1", TaskStatus.DECIDED),
        ("C1.1.2.1", TaskStatus.CANCELLED),
        ("C1.1.2.2", TaskStatus.OPEN),
    ]


def test_what_tonglu_decides_already_is_not_taken_over_again() -> None:
    before = at("step 1")
    assert before.taken_over(Found(EmployeeId("luo"), "x"), NOW) == (before, ())


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"content_hash": OTHER}, ContentChanged),
        ({"decision": Decision.REJECT, "opinion": None}, OpinionMissing),
        ({"decision": Decision.RETURN, "opinion": ""}, OpinionMissing),
        ({"by": EmployeeId("lin")}, OwnDocument),
    ],
)
def test_a_decision_in_our_inbox_that_does_not_count(changes, refusal) -> None:
    before = at("step 1")
    with pytest.raises(refusal):
        before.check_native(before.waiting, verdict(**changes))


def test_what_runs_in_the_oa_is_decided_there() -> None:
    before = at("step 1", Mode.DELEGATED)
    with pytest.raises(DecideInOA) as refused:
        before.check_native(before.waiting, verdict())
    assert refused.value.tenant == "flowable"


@pytest.mark.parametrize("mode", [Mode.NATIVE, Mode.DELEGATED])
@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("state", OPEN)
def test_the_oa_decides_the_waiting_step_of_what_runs_there(state, step, mode) -> None:
    before = at(state, mode)
    waiting = before.waiting
    if mode is Mode.NATIVE or step < waiting.step:
        assert before.check_from_oa(step, verdict(), is_employee=True) is None
    elif step > waiting.step:
        with pytest.raises(DecisionTooEarly):
            before.check_from_oa(step, verdict(), is_employee=True)
    else:
        assert before.check_from_oa(step, verdict(), is_employee=True) is waiting


@pytest.mark.parametrize(
    ("changes", "is_employee", "counts"),
    [
        ({}, False, True),  # the one who was asked
        ({"by": EmployeeId("chen")}, True, True),
        ({"by": EmployeeId("chen")}, False, False),
        ({"by": EmployeeId("lin")}, True, False),
        ({"content_hash": OTHER}, True, False),
        ({"decision": Decision.UNKNOWN}, True, False),
        ({"opinion": None, "decision": Decision.REJECT}, True, True),
    ],
)
def test_a_doubtful_decision_of_the_oa_does_not_count(changes, is_employee, counts) -> None:
    before = at("step 1", Mode.DELEGATED)
    if counts:
        assert before.check_from_oa(1, verdict(**changes), is_employee=is_employee)
        return
    with pytest.raises(DecisionDoubtful):
        before.check_from_oa(1, verdict(**changes), is_employee=is_employee)


def test_the_next_step_begins_by_our_clock_not_the_oas() -> None:
    before = at("step 1", Mode.DELEGATED)
    later = NOW + timedelta(hours=1)
    after, _ = before.decided(before.waiting, verdict(), later)
    assert after.waiting.assigned_at == later


def test_a_route_that_needs_an_administrator_runs_in_tonglu(say) -> None:
    definition, directory = say.definition("delegated"), company(wang=("D2", "chen", "-"))
    route = plan(definition, directory.people[EmployeeId("lin")], directory)
    begun, (request, asked) = requested(definition, say.submitted(), route, NOW)
    assert (begun.mode, request.mode, request.tenant) == (Mode.NATIVE, Mode.NATIVE, None)
    assert asked.assignee_id == "luo"


def test_details_begin_with_what_breaks_a_rule(say) -> None:
    claim = say.submitted()
    line, money = claim.lines[0], claim.total
    dinner = line.model_copy(update={"line_no": 2, "category": "meal", "city": "上海"})
    violation = {
        "line_no": 2, "rule_id": "meal-daily", "severity": "warn", "limit": money, "reason": "客户",
    }  # fmt: skip
    claim = say.submitted(lines=(line, dinner), violations=(violation,))
    directory = company()
    route = plan(say.definition(), directory.people[EmployeeId("lin")], directory)
    begun, _ = requested(say.definition(), claim, route, NOW)
    assert begun.details == (
        "meal 11-20 上海 1488.00 CNY（meal-daily：标准 1488.00，原因：客户）",
        "hotel 11-20 1488.00 CNY",
    )


GOOD = """
id: travel-claim
version: 1
name: {zh: 差旅报销, en: Travel claim}
kind: claim
mode: native
steps:
  - name: 财务
    approver: {rule: role, role: finance}
"""


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ("id: travel-claim", "id: [", "claims.yaml: not YAML, correct it"),
        ("version: 1", "", "claims.yaml: version: add it"),
        ("kind: claim", "kind: claim\ncolour: red", "colour: no such field: remove it"),
        ("kind: claim", "kind: trip", "kind: Input should be"),
        ("mode: native", "mode: delegated", "definition: name the OA as `tenant`"),
        ("mode: native", "mode: native\ntenant: x", "definition: name the OA as `tenant`"),
        ("rule: role, role: finance", "rule: role", "steps.0.approver: name a role with"),
        ("rule: role, role: finance", "rule: boss", "steps.0.approver.rule: Input should be"),
        ("name: 财务", "name: ' '", "steps.0.name: String should have at least 1 character"),
        ("version: 1", "version: 0", "version: Input should be greater than or equal to 1"),
    ],
)
def test_a_definition_that_breaks_a_rule_is_told_by_file_field_and_way_out(bad, good, said) -> None:
    parse_definition("claims.yaml", GOOD)
    with pytest.raises(DefinitionInvalid) as refused:
        parse_definition("claims.yaml", GOOD.replace(bad, good))
    assert str(refused.value).startswith("claims.yaml: ")
    assert said in str(refused.value)


def test_a_kind_of_document_has_exactly_one_definition() -> None:
    one = parse_definition("a.yaml", GOOD)
    check_one_per_kind({"a.yaml": one})
    with pytest.raises(DefinitionInvalid, match=r"b.yaml: kind: a.yaml is for 'claim' too"):
        check_one_per_kind({"a.yaml": one, "b.yaml": one})
    with pytest.raises(DefinitionInvalid, match="put one there"):
        check_one_per_kind({})
