"""Plans: the exact difference, and the line that they may not cross."""

from datetime import UTC, datetime

import pytest
from directory_sync.domain.plan import (
    Known,
    Order,
    PlanChanged,
    Threshold,
    TooManyLeave,
    facts,
    make_plan,
)
from directory_sync.domain.snapshot import Department, Person, Snapshot
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def person(id_: str, name: str = "林晓") -> Person:
    return Person(id_, name, None, "D1", None, (), "zh")


def snapshot(*people: Person) -> Snapshot:
    return Snapshot(people, (Department("D1", "研发", None, None),), "0" * 64)


def known(*people: Person, left: frozenset[str] = frozenset()) -> Known:
    return Known(
        {it.employee_id: it for it in people}, {"D1": Department("D1", "研发", None, None)}, left
    )


names = st.dictionaries(st.sampled_from("ABCDEFGH"), st.sampled_from(["林", "王"]))


@given(names, names, st.sets(st.sampled_from("ABCDEFGH")))
def test_applying_a_plan_makes_the_directory_say_what_the_source_says(source, before, gone) -> None:
    gone &= before.keys()
    was = known(*(person(i, n) for i, n in before.items()), left=frozenset(gone))
    plan = make_plan(snapshot(*(person(i, n) for i, n in source.items())), was)
    after = {i: n for i, n in before.items() if i not in gone}
    for state in facts(plan, NOW):
        if state.status == "left":
            del after[state.employee_id]
        else:
            after[state.employee_id] = state.name
    assert after == source
    everyone = [id_ for ids in plan.ids.values() for id_ in ids]
    assert len(everyone) == len(set(everyone))


def test_unchanged_source_plans_nothing() -> None:
    plan = make_plan(snapshot(person("A")), known(person("A")))
    assert plan.is_empty
    assert facts(plan, NOW) == []


def test_person_who_comes_back_is_told_apart_from_a_new_one() -> None:
    was = known(person("A"), person("B"), left=frozenset({"B"}))
    plan = make_plan(snapshot(person("A"), person("B"), person("C")), was)
    assert (plan.ids["returned"], plan.ids["added"]) == (["B"], ["C"])


@pytest.mark.parametrize(
    ("percent", "people", "leaving", "passes"),
    [
        (10, 50, 2, True),
        (10, 50, 3, False),
        (100, 2, 3, False),
        (0, 50, 0, True),
        (0, 50, 1, False),
    ],
)
def test_either_limit_refuses(percent, people, leaving, passes) -> None:
    was = known(*(person(f"E{n}") for n in range(20)))
    plan = make_plan(snapshot(*list(was.people.values())[leaving:]), was)
    assert Threshold(percent, people).allows(plan) is passes


def test_force_counts_only_with_the_digest_of_this_very_plan() -> None:
    plan = make_plan(snapshot(), known(person("A")))
    threshold = Threshold(10, 10)
    with pytest.raises(TooManyLeave):
        Order(force=True).check(plan, threshold)
    with pytest.raises(TooManyLeave):
        Order(digest=plan.digest).check(plan, threshold)
    with pytest.raises(PlanChanged):
        Order(digest="f" * 64, force=True).check(plan, threshold)
    Order(digest=plan.digest, force=True).check(plan, threshold)


def test_digest_tells_every_difference_of_a_plan() -> None:
    was = known(person("A"), person("B"))
    digests = {
        make_plan(source, was).digest
        for source in (
            snapshot(person("A"), person("B")),
            snapshot(person("A")),
            snapshot(person("B")),
            snapshot(person("A"), person("B", "王强")),
            snapshot(person("A"), person("B"), person("C")),
        )
    }
    assert len(digests) == 5
