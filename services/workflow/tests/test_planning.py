"""Whom a route asks and why, in every company and by every setting, without any I/O."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from events import DepartmentId, DocumentId, EmployeeId, Money
from events.claims import Severity, Violation
from events.workflow import Completion, Decision, DocumentKind
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from workflow.definition.domain import (
    DRAWS,
    Deadline,
    Definition,
    Document,
    Found,
    NoAdministrator,
    Route,
    Rule,
    draw,
    find_successor,
    plan,
    stuck_steps,
)
from workflow.directory.domain import Department, Directory, Person

WARNING = Violation(line_no=1, rule_id="hotel-limit", severity=Severity.WARN)
LINE_MANAGER, HEAD, FINANCE = "line_manager", "department_head", {"rule": "role", "role": "finance"}


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


def a_directory(
    *changed: Person, heads: tuple[str | None, str | None] = ("chen", "wang"), **owners: str
) -> Directory:
    people = {person.employee_id: person for person in (*PEOPLE, *changed)}
    top, below = DepartmentId("D1"), DepartmentId("D2")
    departments = {
        top: Department(top, None, EmployeeId(heads[0]) if heads[0] else None),
        below: Department(below, top, EmployeeId(heads[1]) if heads[1] else None),
    }
    return Directory(people, departments, {id_: EmployeeId(one) for id_, one in owners.items()})


DOCUMENT = Document(
    document_id=DocumentId("c-1"),
    revision=1,
    kind=DocumentKind.CLAIM,
    submitter_id=LIN.employee_id,
    title="上海客户现场",
    total=Money(amount=Decimal("300.00"), currency="CNY"),
    content_hash="ab" * 32,
    handed_in_at=datetime(2026, 11, 24, tzinfo=UTC),
)


def a_definition(*steps: Any, **changed: Any) -> Definition:
    """Of steps as YAML has them; a rule alone is a step that asks one person by it."""
    content: dict[str, Any] = {
        "id": "travel-claim",
        "version": 1,
        "name": {"zh": "差旅报销", "en": "Travel claim"},
        "kind": "claim",
        "mode": "native",
        "steps": [a_step(one) for one in steps],
    }
    return Definition.model_validate(content | changed)


def a_step(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        given = {"rule": given}
    if "rule" in given:
        given = {"approver": given}
    return {"name": "审批"} | given


def planned(
    definition: Definition,
    directory: Directory | None = None,
    document: Document = DOCUMENT,
    lot: int = DRAWS - 1,
) -> Route:
    found = directory or a_directory()
    return plan(definition, document, found.people[document.submitter_id], found, lot)


def asked(route: Route) -> list[list[str]]:
    return [[one.approver_id for one in step.found] for step in route.steps]


@pytest.mark.parametrize(
    ("rule", "who", "said"),
    [
        (LINE_MANAGER, "wang", "line_manager(lin)"),
        (HEAD, "wang", "department_head(D2)"),
        ({"rule": HEAD, "levels": 1}, "chen", "department_head(D2, 1)"),
        (FINANCE, "zhao", "role(finance)"),
        ({"rule": "manager_above", "levels": 2}, "chen", "manager_above(lin, 2)"),
        ({"rule": "person", "person": "chen"}, "chen", "person(chen)"),
        ({"rule": "oa_role", "role": "cfo", "tenant": "oa"}, "bao", "oa_role(oa:cfo)"),
        ("cost_centre_owner", "wang", "cost_centre_owner(D2)"),
    ],
)
def test_approver_is_found_by_the_rule_and_the_rule_is_kept(rule, who, said) -> None:
    route = planned(a_definition(rule), a_directory(a_person("bao", "chen", "oa:cfo")))
    assert route.steps[0].found == (Found(EmployeeId(who), said),)
    assert route.reasons[0].step == 1
    assert f"{said} → {who}" in route.reasons[0].en


def test_cost_centre_that_is_named_is_answered_for_by_its_owner() -> None:
    document = replace(DOCUMENT, cost_centre="CC1")
    owned = planned(a_definition("cost_centre_owner"), a_directory(CC1="chen"), document)
    assert owned.steps[0].found == (Found(EmployeeId("chen"), "cost_centre_owner(CC1)"),)
    unknown = planned(a_definition("cost_centre_owner"), document=document)
    assert unknown.steps[0].found[0].by_administrator


@pytest.mark.parametrize("heads", [("chen", None), ("chen", "lin")])
def test_head_is_looked_for_up_the_tree(heads) -> None:
    assert asked(planned(a_definition(HEAD), a_directory(heads=heads))) == [["chen"]]


@pytest.mark.parametrize(
    ("rule", "directory", "why"),
    [
        (LINE_MANAGER, a_directory(a_person("lin")), "no one"),
        (LINE_MANAGER, a_directory(a_person("lin", "nobody")), "nobody is not here"),
        (LINE_MANAGER, a_directory(a_person("lin", "lin")), "no one"),
        (LINE_MANAGER, a_directory(a_person("wang", "lin")), "the line is a circle"),
        (
            {"rule": "manager_above", "levels": 3},
            a_directory(a_person("chen", "wang")),
            "no one",
        ),
        (
            {"rule": "manager_above", "levels": 2},
            a_directory(a_person("wang", "chen"), a_person("chen", "lin")),
            "the line is a circle",
        ),
        ({"rule": "manager_above", "levels": 3}, a_directory(), "no one"),
        (
            LINE_MANAGER,
            a_directory(a_person("wang", "chen", is_active=False)),
            "wang is not here",
        ),
        (HEAD, a_directory(heads=(None, None)), "no one"),
        (HEAD, a_directory(a_person("wang", is_active=False)), "wang is not here"),
        (HEAD, a_directory(heads=("nobody", None)), "nobody is not here"),
        ({"rule": HEAD, "levels": 2}, a_directory(), "no one"),
        (FINANCE, a_directory(a_person("zhao", "chen")), "no one"),
        (FINANCE, a_directory(a_person("zhao", None, "finance", is_active=False)), "no one"),
        ({"rule": "person", "person": "gone"}, a_directory(), "gone is not here"),
    ],
)
def test_step_without_a_present_approver_goes_to_an_administrator(rule, directory, why) -> None:
    route = planned(a_definition(rule), directory)
    (found,) = route.steps[0].found
    assert (found.approver_id, found.by_administrator) == ("ada", True)
    assert found.rule.startswith("administrator (")
    assert found.rule.endswith(f": {why})")
    assert [one.step for one in stuck_steps(route)] == [1]


def test_circle_of_departments_ends_at_an_administrator() -> None:
    one, two = DepartmentId("D1"), DepartmentId("D2")
    circle = {one: Department(one, two, None), two: Department(two, one, None)}
    route = planned(a_definition(HEAD), Directory(a_directory().people, circle))
    assert asked(route) == [["ada"]]


@pytest.mark.parametrize(
    "directory",
    [a_directory(a_person("ada")), a_directory(a_person("ada", None, "admin", is_active=False))],
)
def test_step_that_no_one_can_take_is_refused(directory) -> None:
    with pytest.raises(NoAdministrator):
        planned(a_definition({"rule": "role", "role": "cfo"}), directory)


def test_administrator_does_not_take_a_step_of_an_own_document() -> None:
    with pytest.raises(NoAdministrator):
        planned(
            a_definition({"rule": "role", "role": "cfo"}),
            document=replace(DOCUMENT, submitter_id=EmployeeId("ada")),
        )


def test_approver_asks_one_and_approvers_ask_everyone_whom_the_rules_find_once() -> None:
    directory = a_directory(a_person("bao", None, "finance"), a_person("wang", "chen", "finance"))
    one = planned(a_definition(FINANCE), directory)
    assert asked(one) == [["bao"]]
    several = {"approvers": [{"rule": LINE_MANAGER}, FINANCE], "completion": {"ratio": 60}}
    (step,) = planned(a_definition(several), directory).steps
    assert [found.approver_id for found in step.found] == ["wang", "bao", "zhao"]
    assert (step.completion, step.ratio) == (Completion.RATIO, 60)


@pytest.mark.parametrize(
    ("setting", "who"), [("skip", None), ("go_up", "chen"), ("department_head", "wang")]
)
def test_submitter_who_is_the_only_approver_is_replaced_by_the_setting(setting, who) -> None:
    clerk = replace(DOCUMENT, submitter_id=EmployeeId("zhao"))
    route = planned(
        a_definition(FINANCE, "line_manager", submitter_is_approver=setting), document=clerk
    )
    assert asked(route) == ([[who]] if who else []) + [["chen"]]
    if who is None:
        assert route.reasons[0].step is None
        assert "the submitter alone" in route.reasons[0].en
    else:
        assert route.steps[0].found[0].rule == f"role(finance), {setting}"


def test_submitter_who_holds_a_role_with_others_leaves_it_to_them() -> None:
    directory = a_directory(a_person("bao", None, "finance"))
    clerk = replace(DOCUMENT, submitter_id=EmployeeId("bao"))
    route = planned(a_definition({"approvers": [FINANCE]}), directory, clerk)
    assert asked(route) == [["zhao"]]


def test_head_further_up_who_is_the_submitter_is_never_replaced_by_someone_below() -> None:
    definition = a_definition({"rule": HEAD, "levels": 1})
    boss = replace(DOCUMENT, submitter_id=EmployeeId("chen"))
    assert asked(planned(definition, document=boss)) == [["ada"]]


@pytest.mark.parametrize("rule", [{"rule": HEAD}, {"rule": "person", "person": "wang"}])
def test_document_of_a_head_among_several_approvers_asks_one_head_above_alone(rule) -> None:
    several = {"approvers": [rule], "completion": "all"}
    head = replace(DOCUMENT, submitter_id=EmployeeId("wang"))
    definition = a_definition(several, submitter_is_approver="department_head")
    company = a_directory(a_person("boss"))
    top = Department(DepartmentId("D0"), None, EmployeeId("boss"))
    middle = Department(DepartmentId("D1"), top.department_id, EmployeeId("chen"))
    departments = {**company.departments, top.department_id: top, middle.department_id: middle}
    assert asked(planned(definition, Directory(company.people, departments), head)) == [["chen"]]


CHOICE = {"id": "choice", "approvers": [{"rule": "chosen_by_submitter", "max": 2}]}
FROM = {"people": ["wang"], "roles": ["finance"]}
LIMITED = {"id": "choice", "approvers": [{"rule": "chosen_by_submitter", "from": FROM, "min": 2}]}


@pytest.mark.parametrize(
    ("step", "chosen", "found"),
    [
        (CHOICE, ("wang", "zhao"), ["wang", "zhao"]),
        (CHOICE, ("wang", "wang"), ["wang"]),
        (CHOICE, (), ["ada"]),
        (CHOICE, ("wang", "zhao", "chen"), ["ada"]),
        (CHOICE, ("nobody",), ["ada"]),
        (CHOICE, ("lin",), ["wang"]),
        (LIMITED, ("wang", "zhao"), ["wang", "zhao"]),
        (LIMITED, ("wang", "chen"), ["ada"]),
        (LIMITED, ("wang",), ["ada"]),
    ],
)
def test_choice_of_the_submitter_counts_only_within_its_rule(step, chosen, found) -> None:
    document = replace(DOCUMENT, chosen={"choice": tuple(map(EmployeeId, chosen))})
    assert asked(planned(a_definition(step), document=document)) == [found]


def test_step_is_skipped_when_its_condition_does_not_hold_and_the_trace_says_so() -> None:
    big = {"id": "big", "when": 'amount > money("500.00 CNY")', "approver": {"rule": HEAD}}
    small = planned(a_definition(big, FINANCE))
    assert [(step.step, step.id) for step in small.steps] == [(1, "step-2")]
    assert [(one.step_id, one.step) for one in small.reasons] == [("big", None), ("step-2", 1)]
    assert "does not hold: skipped" in small.reasons[0].en
    total = Money(amount=Decimal("500.01"), currency="CNY")
    both = planned(a_definition(big, FINANCE), document=replace(DOCUMENT, total=total))
    assert asked(both) == [["wang"], ["zhao"]]
    assert "holds; department_head(D2) → wang" in both.reasons[0].en


def test_condition_that_fails_asks_an_administrator_instead_of_skipping_the_step() -> None:
    limit = {"when": 'amount > money("500.00 CNY")', "approver": {"rule": HEAD}}
    dollars = replace(DOCUMENT, total=Money(amount=Decimal(1), currency="USD"))
    route = planned(a_definition(limit, FINANCE), document=dollars)
    assert asked(route) == [["ada"], ["zhao"]]
    assert "cannot be compared with USD" in route.steps[0].found[0].rule


def test_route_whose_steps_are_all_skipped_goes_to_an_administrator() -> None:
    never = {"when": "amount < 0", "approver": {"rule": HEAD}}
    route = planned(a_definition(never))
    assert asked(route) == [["ada"]]
    assert route.steps[0].found[0].by_administrator


def person(id_: str) -> dict[str, str]:
    return {"rule": "person", "person": id_}


ALL_OF = {"approvers": [person("wang"), person("zhao")], "completion": "all"}
ONE_OF = {"approvers": [person("wang"), person("zhao")], "completion": "one"}


@pytest.mark.parametrize(
    ("setting", "steps", "found"),
    [
        ("none", ["wang", "wang"], [["wang"], ["wang"]]),
        ("consecutive", ["wang", "wang", "wang"], [["wang"]]),
        ("consecutive", ["wang", "zhao", "wang"], [["wang"], ["zhao"], ["wang"]]),
        ("all", ["wang", "zhao", "wang"], [["zhao"], ["wang"]]),
        ("all", ["wang", ALL_OF], [["wang", "zhao"]]),
        ("all", ["wang", ONE_OF], [["wang"], ["wang", "zhao"]]),
        ("all", [ALL_OF, "wang"], [["zhao"], ["wang"]]),
        ("consecutive", [ALL_OF, "zhao", "wang"], [["wang"], ["zhao"], ["wang"]]),
        ("consecutive", [ALL_OF, ALL_OF], [["wang", "zhao"]]),
        ("consecutive", [ONE_OF, "wang"], [["wang", "zhao"], ["wang"]]),
    ],
)
def test_same_approver_is_asked_once_by_the_setting_and_last(setting, steps, found) -> None:
    rules = [person(one) if isinstance(one, str) else one for one in steps]
    route = planned(a_definition(*rules, same_approver=setting))
    assert asked(route) == found
    assert [step.step for step in route.steps] == list(range(1, len(found) + 1))
    assert [one.step for one in route.reasons if one.step] == [step.step for step in route.steps]


def test_step_between_that_is_skipped_does_not_part_neighbours() -> None:
    never = {"when": "amount < 0", "approver": person("zhao")}
    route = planned(
        a_definition(person("wang"), never, person("wang"), same_approver="consecutive")
    )
    assert asked(route) == [["wang"]]


def test_administrator_sorts_out_each_step_of_its_own() -> None:
    route = planned(
        a_definition({"rule": "role", "role": "x"}, {"rule": "role", "role": "y"}),
        document=DOCUMENT,
    )
    merged = planned(
        a_definition(
            {"rule": "role", "role": "x"}, {"rule": "role", "role": "y"}, same_approver="all"
        )
    )
    assert asked(route) == asked(merged) == [["ada"], ["ada"]]


CLEAN = {"when": 'size(violations) == 0 && amount < money("500 CNY")', "audit_percent": 10}


def test_clean_document_below_the_limit_needs_no_one_and_says_by_which_rule() -> None:
    route = planned(a_definition(FINANCE, automatic=CLEAN))
    assert route.steps == ()
    assert route.automatic == f"automatic ({CLEAN['when']})"
    assert "no one need be asked" in route.reasons[0].en


@pytest.mark.parametrize(
    ("percent", "lot", "audited"),
    [(10, 999, True), (10, 1000, False), (0, 0, False), (100, DRAWS - 1, True)],
)
def test_share_of_automatic_approvals_goes_to_a_person(percent, lot, audited) -> None:
    definition = a_definition(FINANCE, automatic=CLEAN | {"audit_percent": percent})
    route = planned(definition, lot=lot)
    assert (asked(route) == [["zhao"]], route.automatic is None) == (audited, audited)
    assert ("drawn for audit" in route.reasons[0].en) == audited


@pytest.mark.parametrize(
    "document",
    [
        replace(DOCUMENT, violations=(WARNING,)),
        replace(DOCUMENT, total=Money(amount=Decimal("500.00"), currency="CNY")),
        replace(DOCUMENT, total=Money(amount=Decimal("0.01"), currency="USD")),
    ],
)
def test_document_that_is_not_clean_or_cannot_be_judged_goes_to_a_person(document) -> None:
    route = planned(a_definition(FINANCE, automatic=CLEAN), document=document)
    assert (asked(route), route.automatic) == ([["zhao"]], None)


def test_lots_are_the_same_each_time_even_unpredictable_and_not_of_the_revision() -> None:
    lots = [draw("secret", DocumentId(f"c-{n}"), "travel-claim@1") for n in range(5000)]
    assert lots == [draw("secret", DocumentId(f"c-{n}"), "travel-claim@1") for n in range(5000)]
    assert 0.08 < sum(lot * 100 < 10 * DRAWS for lot in lots) / len(lots) < 0.12
    assert lots[0] != draw("another", DocumentId("c-0"), "travel-claim@1")


def test_deadline_of_a_step_comes_with_it() -> None:
    limit = {
        "hours": 8,
        "remind": [6],
        "escalate": 12,
        "decide": {"after": 24, "decision": "return"},
    }
    (step,) = planned(a_definition({"approver": FINANCE, "deadline": limit})).steps
    eight, six, twelve, day = map(Decimal, (8, 6, 12, 24))
    assert step.deadline == Deadline(eight, (six,), twelve, (day, Decision.RETURN))


def test_leaver_is_followed_by_the_first_up_the_line_who_is_here_but_never_the_submitter() -> None:
    leaver = a_person("wang", "chen", is_active=False)
    assert find_successor(leaver, LIN.employee_id, a_directory(leaver)).approver_id == "chen"
    found = find_successor(leaver, EmployeeId("chen"), a_directory(leaver))
    assert (found.approver_id, found.by_administrator) == ("ada", True)
    both = a_directory(leaver, a_person("chen", "zhao", is_active=False))
    assert find_successor(leaver, LIN.employee_id, both).approver_id == "zhao"


ids = st.sampled_from(["a", "b", "c", "d"])
companies = st.dictionaries(
    ids, st.tuples(st.none() | ids, st.booleans(), st.sets(st.sampled_from(["finance", "admin"])))
)
rules = st.one_of(
    st.sampled_from([Rule.LINE_MANAGER, Rule.DEPARTMENT_HEAD, Rule.COST_CENTRE_OWNER]).map(
        lambda rule: {"rule": rule}
    ),
    st.integers(1, 4).map(lambda n: {"rule": "manager_above", "levels": n}),
    st.integers(1, 4).map(lambda n: {"rule": "department_head", "levels": n}),
    st.sampled_from(["finance", "cfo"]).map(lambda role: {"rule": "role", "role": role}),
    ids.map(person),
    st.just({"rule": "chosen_by_submitter"}),
)
conditions = st.sampled_from(
    [None, "amount > 0", "amount < 0", 'amount > money("1 USD")', "size(claim.lines) == 0"]
)
steps = st.builds(
    lambda approvers, when, completion: {
        "approvers": approvers,
        "completion": completion,
        **({"when": when} if when else {}),
    },
    st.lists(rules, min_size=1, max_size=3),
    conditions,
    st.sampled_from(["one", "all", "sequence", {"ratio": 50}]),
)
definitions = st.builds(
    lambda steps, same, own: a_definition(*steps, same_approver=same, submitter_is_approver=own),
    st.lists(steps, min_size=1, max_size=4),
    st.sampled_from(["none", "all", "consecutive"]),
    st.sampled_from(["skip", "go_up", "department_head"]),
)


@settings(max_examples=300, deadline=None)
@given(definitions, companies, ids, st.tuples(st.none() | ids, st.none() | ids), st.lists(ids))
def test_in_any_company_every_step_asks_someone_present_who_is_not_the_submitter(
    definition, company, submitter, heads, chosen
) -> None:
    people = [
        a_person(id_, manager, *roles, is_active=here)
        for id_, (manager, here, roles) in company.items()
    ]
    directory = a_directory(*people, a_person("ada", None, "admin"), heads=heads, CC1="a")
    me = directory.people.get(EmployeeId(submitter)) or a_person(submitter)
    mine = {f"step-{n}": tuple(map(EmployeeId, chosen)) for n in range(1, 5)}
    document = replace(DOCUMENT, submitter_id=me.employee_id, chosen=mine, cost_centre="CC1")
    route = plan(definition, document, me, directory, 0)
    assert route.steps
    for step in route.steps:
        assert step.found
        for one in step.found:
            assert directory.is_here(one.approver_id)
            assert one.approver_id != submitter
            assert len(one.rule) <= 200
    assert [one.step for one in route.reasons if one.step] == [step.step for step in route.steps]
    again = a_directory(*reversed(people), a_person("ada", None, "admin"), heads=heads, CC1="a")
    assert plan(definition, document, me, again, 0) == route
