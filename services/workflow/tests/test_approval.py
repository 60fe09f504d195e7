"""An approval as such: whom it asks, when it is done, what people may do. No database."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from events import MAX_PAYLOAD_BYTES, DocumentId, EmployeeId, Envelope, EventId, Money
from events.claims import ExpenseLine, Severity, Violation
from events.workflow import (
    ApprovalActed,
    ApprovalCancelled,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskDecided,
    Closing,
    Completion,
    Decision,
    DocumentKind,
    Mode,
    OverdueAction,
    Verb,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from uuid_utils.compat import uuid7
from workflow.approval.domain import (
    TONGLU,
    Act,
    Approval,
    ContentChanged,
    DecideInOA,
    DecisionUnknown,
    Due,
    Moment,
    NotAsked,
    NotRemovable,
    NotYoursToUrge,
    NotYourVote,
    OpinionMissing,
    Part,
    Status,
    StepNotDone,
    TargetAsked,
    TargetIsSubmitter,
    Task,
    TaskCancelled,
    TaskDecided,
    TaskStatus,
    UrgedAlready,
    Verdict,
    acted_on,
    added_after,
    added_before,
    content_changed,
    decided,
    delegated,
    document_of,
    moves,
    removed,
    requested,
    rerouted,
    returned_to_step,
    started,
    stood_in,
    transferred,
    urged,
)
from workflow.approval.domain.voting import by_seat, vote
from workflow.calendar.domain import WorkCalendar
from workflow.definition.domain import Deadline, Found, PlannedStep, Resubmit, Route
from workflow.directory.domain import Directory, Person
from workflow.standin.domain import PersonNotHere

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
HASH = "ab" * 32
CALENDAR = WorkCalendar.of(())
YES, NO, BACK = Decision.APPROVE, Decision.REJECT, Decision.RETURN


def person(id_: str, manager: str | None, *roles: str, is_active: bool = True) -> Person:
    line = EmployeeId(manager) if manager else None
    return Person(EmployeeId(id_), "D1", line, frozenset(roles), is_active)


COMPANY = Directory(
    {
        one.employee_id: one
        for one in (
            person("lin", "wang"),
            person("wang", "chen"),
            person("zhao", "chen"),
            person("chen", None),
            person("ada", "chen", "admin"),
        )
    },
    {},
)
WORLD = Moment(NOW, CALENDAR, directory=COMPANY)


def step(number: int, *people: str, **how) -> PlannedStep:
    found = tuple(Found(EmployeeId(one), f"person({one})") for one in people)
    return PlannedStep(number, f"s{number}", f"step {number}", found, **how)


def an_approval(*route: PlannedStep, **changed) -> Approval:
    approval = Approval(
        document_id=DocumentId("c-1"),
        revision=1,
        kind=DocumentKind.CLAIM,
        definition="travel-claim@1",
        mode=Mode.NATIVE,
        tenant=None,
        submitter_id=EmployeeId("lin"),
        title="上海",
        total=Money(amount=Decimal(1), currency="CNY"),
        details=("hotel 680.00",),
        content_hash=HASH,
        route=route or (step(1, "wang"), step(2, "zhao")),
    )
    return replace(approval, **changed)


def begun(*route: PlannedStep, world: Moment = WORLD, **changed) -> Approval:
    return an_approval(*route, **changed).asked(1, world)


def task_of(approval: Approval, who: str) -> Task:
    return next(task for task in approval.open_tasks if task.assignee_id == who)


def say(approval: Approval, who: str, decision: Decision = YES, **changed) -> Approval:
    verdict = Verdict(decision, EmployeeId(who), TONGLU, HASH, LATER, "因为")
    world = changed.pop("world", WORLD)
    return decided(approval, task_of(approval, who), replace(verdict, **changed), world)


def do(
    approval: Approval, verb: Callable[..., Approval], who: str, *targets: str, **act
) -> Approval:
    task = task_of(approval, who)
    return verb(approval, task, Act(EmployeeId(who), targets, "请看", **act), WORLD)


def asked(approval: Approval) -> list[str]:
    return [task.assignee_id for task in approval.open_tasks]


def closings(approval: Approval) -> dict[str, Closing]:
    return {task.assignee_id: task.closing for task in approval.tasks if task.closing}


def test_agreement_to_the_last_step_is_the_approval() -> None:
    approval = say(begun(), "wang")
    assert isinstance(approval.facts[-2], ApprovalTaskDecided)
    assert isinstance(approval.facts[-1], ApprovalTaskAssigned)
    assert (asked(approval), approval.status) == (["zhao"], Status.OPEN)
    approval = say(approval, "zhao")
    assert isinstance(approval.facts[-1], ApprovalDecided)
    assert (asked(approval), approval.status) == ([], Status.APPROVED)


@pytest.mark.parametrize("before", [(), ("wang",)])
@pytest.mark.parametrize(("decision", "end"), [(NO, Status.REJECTED), (BACK, Status.RETURNED)])
def test_one_refusal_ends_it_at_any_step(before, decision, end) -> None:
    approval = begun()
    for who in before:
        approval = say(approval, who)
    approval = say(approval, asked(approval)[0], decision)
    assert (approval.status, asked(approval)) == (end, [])
    assert approval.facts[-1].outcome.value == end.value


THREE = ("a", "b", "c")


@pytest.mark.parametrize(
    ("completion", "ratio", "said", "end"),
    [
        (Completion.ONE, None, "b+", Status.APPROVED),
        (Completion.ONE, None, "b-", Status.REJECTED),
        (Completion.ALL, None, "a+b+", Status.OPEN),
        (Completion.ALL, None, "b+a+c+", Status.APPROVED),
        (Completion.ALL, None, "a+c-", Status.REJECTED),
        (Completion.SEQUENCE, None, "a+b+", Status.OPEN),
        (Completion.SEQUENCE, None, "a+b+c+", Status.APPROVED),
        (Completion.SEQUENCE, None, "a+b-", Status.REJECTED),
        (Completion.RATIO, 60, "a-", Status.OPEN),
        (Completion.RATIO, 60, "a-b+", Status.OPEN),
        (Completion.RATIO, 60, "a-b+c+", Status.APPROVED),
        (Completion.RATIO, 60, "a+b+", Status.APPROVED),
        (Completion.RATIO, 60, "a-b-", Status.REJECTED),
        (Completion.RATIO, 67, "a-", Status.REJECTED),
        (Completion.RATIO, 1, "a-b-", Status.OPEN),
        (Completion.RATIO, 1, "a-b-c+", Status.APPROVED),
        (Completion.RATIO, 100, "a+b+c+", Status.APPROVED),
        (Completion.UNKNOWN, None, "a+b+", Status.OPEN),
    ],
)
def test_step_is_done_by_its_completion_rule(completion, ratio, said, end) -> None:
    approval = begun(step(1, *THREE, completion=completion, ratio=ratio))
    for who, sign in zip(said[::2], said[1::2], strict=True):
        approval = say(approval, who, YES if sign == "+" else NO)
    assert approval.status is end
    assert bool(asked(approval)) is (end is Status.OPEN)


def test_others_of_a_step_that_is_done_are_told_so() -> None:
    approval = say(begun(step(1, *THREE), step(2, "zhao")), "b")
    assert closings(approval) == {"a": Closing.STEP_DONE, "c": Closing.STEP_DONE}
    assert asked(approval) == ["zhao"]


def test_sequence_asks_one_after_the_other() -> None:
    approval = begun(step(1, *THREE, completion=Completion.SEQUENCE))
    seen = []
    while asked(approval):
        (who,) = asked(approval)
        seen.append(who)
        approval = say(approval, who)
    assert (seen, approval.status) == (list(THREE), Status.APPROVED)


def test_transfer_makes_the_task_anothers() -> None:
    approval = do(begun(), transferred, "wang", "chen")
    task = task_of(approval, "chen")
    assert (task.verb, task.task_id, task.seat) == (Verb.TRANSFER, "c-1.1.1.2", 1)
    assert closings(approval) == {"wang": Closing.TRANSFERRED}
    acted = next(fact for fact in approval.facts if isinstance(fact, ApprovalActed))
    assert (acted.verb, acted.by, acted.targets, acted.text) == (
        Verb.TRANSFER,
        "wang",
        ("chen",),
        "请看",
    )
    assert asked(say(approval, "chen")) == ["zhao"]


@pytest.mark.parametrize("opinion", [YES, NO, BACK])
def test_opinion_of_a_delegate_comes_back_and_decides_nothing(opinion) -> None:
    approval = do(begun(), delegated, "wang", "chen")
    task = task_of(approval, "chen")
    assert (task.verb, task.acting_for, task.part) == (Verb.DELEGATE, "wang", Part.OPINION)
    approval = say(approval, "chen", opinion)
    assert (asked(approval), approval.status) == (["wang"], Status.OPEN)
    assert asked(say(approval, "wang")) == ["zhao"]


def test_add_sign_before_asks_me_again_once_all_have_agreed() -> None:
    approval = do(begun(), added_before, "wang", "a", "b")
    assert asked(approval) == ["a", "b"]
    approval = say(approval, "a")
    assert asked(approval) == ["b"]
    approval = say(approval, "b")
    assert asked(approval) == ["wang"]
    assert asked(say(approval, "wang")) == ["zhao"]


def test_add_sign_after_is_asked_once_i_have_approved() -> None:
    approval = do(begun(), added_after, "wang", "a", "b")
    assert asked(approval) == ["wang"]
    approval = say(approval, "wang")
    assert asked(approval) == ["a", "b"]
    assert asked(say(say(approval, "b"), "a")) == ["zhao"]


@pytest.mark.parametrize("verb", [added_before, added_after])
def test_no_of_one_who_was_added_is_the_no_of_the_step(verb) -> None:
    approval = do(begun(), verb, "wang", "a", "b")
    if verb is added_after:
        approval = say(approval, "wang")
    assert say(approval, "a", NO).status is Status.REJECTED


def test_no_of_one_who_was_added_is_one_vote_where_a_share_is_enough() -> None:
    approval = begun(step(1, *THREE, completion=Completion.RATIO, ratio=60))
    approval = say(do(approval, added_before, "a", "x", "y"), "x", NO)
    assert (approval.status, asked(approval)) == (Status.OPEN, ["b", "c"])
    assert say(say(approval, "b"), "c").status is Status.APPROVED


def test_remove_sign_before_asks_me_again_when_no_one_is_left() -> None:
    approval = do(begun(), added_before, "wang", "a", "b")
    mine = approval.tasks[0]
    for who, left in (("a", ["b"]), ("b", ["wang"])):
        approval = removed(approval, mine, Act(EmployeeId("wang"), (who,)), WORLD)
        assert asked(approval) == left
    assert closings(approval)["a"] is Closing.REMOVED


def test_remove_sign_after_lets_the_step_go_on() -> None:
    approval = say(do(begun(), added_after, "wang", "a", "b"), "wang")
    mine = approval.tasks[0]
    approval = removed(approval, mine, Act(EmployeeId("wang"), ("a",)), WORLD)
    assert asked(approval) == ["b"]
    assert asked(removed(approval, mine, Act(EmployeeId("wang"), ("b",)), WORLD)) == ["zhao"]


def with_signer_after() -> Approval:
    """wang has approved, and a, whom wang added after, is asked."""
    return say(do(begun(), added_after, "wang", "a"), "wang")


@pytest.mark.parametrize(
    "handed_on",
    [
        lambda one: do(one, transferred, "a", "zhao"),
        lambda one: stood_in(one, task_of(one, "a"), replace(WORLD, stand_ins={"a": "zhao"})),
        lambda one: rerouted(one, task_of(one, "a"), replace(WORLD, gone={"a"})),
        lambda one: overdue(one, OverdueAction.ESCALATE, world=above_a("zhao")),
    ],
    ids=["transferred", "away", "gone", "late"],
)
def test_signer_after_the_vote_who_hands_on_is_followed_by_someone_who_is_asked(handed_on) -> None:
    approval = handed_on(with_signer_after())
    (task,) = approval.open_tasks
    assert (task.assignee_id in {"zhao", "ada"}, task.part) == (True, Part.AFTER)
    assert say(approval, task.assignee_id).current_step == 2


def above_a(manager: str) -> Moment:
    people = {**COMPANY.people, EmployeeId("a"): person("a", manager)}
    return replace(WORLD, directory=Directory(people, {}))


def test_signers_before_and_after_removed_at_once_leave_the_vote_to_me() -> None:
    approval = do(begun(), added_after, "wang", "a")
    approval = do(approval, added_before, "wang", "b")
    mine = next(task for task in approval.tasks if task.assignee_id == "wang")
    approval = removed(approval, mine, Act(EmployeeId("wang"), ("a", "b")), WORLD)
    assert asked(approval) == ["wang"]
    assert say(approval, "wang").current_step == 2


def test_only_whom_i_added_and_who_has_not_decided_can_be_removed() -> None:
    approval = say(do(begun(step(1, "wang", "zhao")), added_before, "wang", "a", "b"), "a")
    for who, target in (("wang", "a"), ("wang", "zhao"), ("zhao", "b")):
        mine = next(task for task in approval.tasks if task.assignee_id == who)
        with pytest.raises(NotRemovable):
            removed(approval, mine, Act(EmployeeId(who), (target,)), WORLD)


@pytest.mark.parametrize(("is_straight", "then"), [(True, ["chen"]), (False, ["zhao"])])
def test_return_to_an_earlier_step_goes_on_or_straight_back(is_straight, then) -> None:
    approval = say(say(begun(step(1, "wang"), step(2, "zhao"), step(3, "chen")), "wang"), "zhao")
    approval = do(approval, returned_to_step, "chen", to_step=1, is_straight=is_straight)
    assert (asked(approval), closings(approval)) == (["wang"], {"chen": Closing.RETURNED})
    assert approval.open_tasks[0].round == 2
    approval = say(approval, "wang")
    assert asked(approval) == then
    if is_straight:
        assert say(approval, "chen").status is Status.APPROVED


def test_straight_back_is_to_who_sent_it_though_the_route_names_another() -> None:
    approval = do(say(begun(), "wang"), transferred, "zhao", "chen")
    approval = do(approval, returned_to_step, "chen", to_step=1, is_straight=True)
    assert asked(say(approval, "wang")) == ["chen"]


@pytest.mark.parametrize("to", [0, 2, 3, None])
def test_return_goes_only_to_a_step_that_was_done_and_says_which(to) -> None:
    with pytest.raises(StepNotDone) as refused:
        do(say(begun(), "wang"), returned_to_step, "zhao", to_step=to)
    assert refused.value.steps == "1"


def test_return_to_a_step_says_why() -> None:
    approval = say(begun(), "wang")
    act = Act(EmployeeId("zhao"), to_step=1)
    with pytest.raises(OpinionMissing):
        returned_to_step(approval, task_of(approval, "zhao"), act, WORLD)


HANDING = [transferred, delegated, added_before, added_after]


@pytest.mark.parametrize("verb", HANDING)
@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("lin", TargetIsSubmitter),
        ("wang", TargetAsked),
        ("b", TargetAsked),
        ("gone", PersonNotHere),
    ],
)
def test_task_goes_only_to_someone_here_who_is_not_asked_and_is_not_the_submitter(
    verb, target, refusal
) -> None:
    approval = begun(step(1, "wang", "b", completion=Completion.SEQUENCE))
    act = Act(EmployeeId("wang"), (EmployeeId(target),))
    world = replace(WORLD, gone=frozenset({"gone"}))
    with pytest.raises(refusal):
        verb(approval, task_of(approval, "wang"), act, world)


@pytest.mark.parametrize("verb", [delegated, added_before, added_after, returned_to_step])
@pytest.mark.parametrize("added", [added_before, delegated])
def test_who_was_added_or_gives_an_opinion_does_not_change_the_step(verb, added) -> None:
    approval = do(begun(), added, "wang", "a")
    with pytest.raises(NotYourVote):
        do(approval, verb, "a", "b", to_step=1)


@pytest.mark.parametrize("verb", [*HANDING, returned_to_step])
def test_nothing_is_done_about_a_task_that_has_ended_or_is_the_oas(verb) -> None:
    act = Act(EmployeeId("wang"), ("a",), "x", to_step=1)
    approval = say(begun(), "wang")
    with pytest.raises(TaskDecided):
        verb(approval, approval.tasks[0], act, WORLD)
    approval = do(begun(), transferred, "wang", "chen")
    with pytest.raises(TaskCancelled):
        verb(approval, approval.tasks[0], act, WORLD)
    approval = begun(mode=Mode.DELEGATED, tenant="oa")
    with pytest.raises(DecideInOA):
        verb(approval, approval.tasks[0], act, WORLD)


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"by": EmployeeId("zhao")}, NotAsked),
        ({"by": EmployeeId("lin")}, NotAsked),
        ({"decision": Decision.UNKNOWN}, DecisionUnknown),
        ({"content_hash": "0" * 64}, ContentChanged),
        ({"decision": NO, "opinion": None}, OpinionMissing),
        ({"decision": BACK, "opinion": ""}, OpinionMissing),
    ],
)
def test_decision_that_cannot_count_is_refused(changed, refusal) -> None:
    with pytest.raises(refusal):
        say(begun(), "wang", **changed)


def test_agreement_and_a_refusal_in_the_oa_need_no_opinion() -> None:
    approval = begun(mode=Mode.DELEGATED, tenant="oa")
    assert say(approval, "wang", NO, via="oa", opinion=None).status is Status.REJECTED
    assert say(begun(), "wang", opinion=None).status is Status.OPEN
    with pytest.raises(DecideInOA):
        say(approval, "wang")


def test_submitter_and_earlier_approvers_urge_once_an_hour() -> None:
    approval = say(begun(), "wang")
    task = task_of(approval, "zhao")
    for who in ("lin", "wang"):
        after = urged(approval, task, Act(EmployeeId(who)), None, WORLD)
        assert (after.facts[-1].verb, after.facts[-1].targets) == (Verb.URGE, ("zhao",))
    for minutes, is_refused in ((59, True), (60, False)):
        last = NOW - timedelta(minutes=minutes)
        if is_refused:
            with pytest.raises(UrgedAlready):
                urged(approval, task, Act(EmployeeId("lin")), last, WORLD)
        else:
            urged(approval, task, Act(EmployeeId("lin")), last, WORLD)
    with pytest.raises(NotYoursToUrge):
        urged(approval, task, Act(EmployeeId("chen")), None, WORLD)
    with pytest.raises(TaskDecided):
        urged(approval, approval.tasks[0], Act(EmployeeId("lin")), None, WORLD)


def test_stand_in_is_asked_for_who_is_away_but_never_the_submitter() -> None:
    away = replace(WORLD, stand_ins={"wang": "chen", "zhao": "lin"})
    approval = begun(world=away)
    task = task_of(approval, "chen")
    assert (task.verb, task.acting_for, task.rule) == (Verb.STAND_IN, "wang", "stand_in(wang)")
    approval = say(approval, "chen", world=away)
    assert approval.facts[-2].acting_for == "wang"
    assert asked(approval) == ["zhao"]


def test_open_task_goes_to_the_stand_in_when_the_window_begins() -> None:
    approval = begun()
    task = task_of(approval, "wang")
    assert stood_in(approval, task, WORLD) is approval
    assert stood_in(approval, task, replace(WORLD, stand_ins={"wang": "lin"})) is approval
    moved = stood_in(approval, task, replace(WORLD, stand_ins={"wang": "chen"}))
    assert (asked(moved), closings(moved)) == (["chen"], {"wang": Closing.STAND_IN})


def test_task_of_a_leaver_goes_up_the_line_or_is_marked() -> None:
    approval = begun()
    task = task_of(approval, "wang")
    moved = rerouted(approval, task, replace(WORLD, gone={"wang"}))
    assert (asked(moved), closings(moved)) == (["chen"], {"wang": Closing.REROUTED})
    assert task_of(moved, "chen").verb is Verb.REROUTE
    empty = replace(WORLD, gone={"wang"}, directory=Directory({}, {}))
    stuck = rerouted(approval, task, empty)
    assert (asked(stuck), stuck.open_tasks[0].is_stranded) == (["wang"], True)
    assert stuck.facts == approval.facts
    assert rerouted(stuck, stuck.open_tasks[0], empty) is stuck


def test_circle_in_the_line_of_a_leaver_ends_at_an_administrator() -> None:
    circle = Directory(
        {
            one.employee_id: one
            for one in (
                person("wang", "bo", is_active=False),
                person("bo", "wang", is_active=False),
                person("ada", None, "admin"),
            )
        },
        {},
    )
    world = replace(WORLD, gone={"wang"}, directory=circle)
    assert asked(begun(world=world)) == ["ada"]


LATE = Deadline(
    hours=Decimal(8),
    remind=(Decimal(4), Decimal(8)),
    escalate=Decimal(12),
    decide=(Decimal(20), Decision.RETURN),
)


def test_deadlines_count_from_when_the_step_was_asked_whoever_has_it_now() -> None:
    # 17:30 in Shanghai on a Tuesday: half an hour is left of the day.
    approval = begun(step(1, "wang", deadline=LATE))
    task = approval.open_tasks[0]
    assert task.due_at == datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
    assert [due.action for due in approval.dues] == [
        OverdueAction.REMIND,
        OverdueAction.REMIND,
        OverdueAction.ESCALATE,
        OverdueAction.DECIDE,
    ]
    world = replace(WORLD, now=approval.dues[1].at)
    act = Act(EmployeeId("wang"), (EmployeeId("zhao"),))
    after = transferred(approval, task, act, world)
    handed = task_of(after, "zhao")
    assert handed.due_at == task.due_at
    assert [(due.action, due.at) for due in after.dues if due.task_id == handed.task_id] == [
        (due.action, due.at) for due in approval.dues[2:]
    ]


def after_all_is_due(approval: Approval, *targets: str) -> Approval:
    """Every deadline of the step has passed; each of what is then due is done, in its order."""
    world = replace(WORLD, now=NOW + timedelta(days=30))
    done: set[tuple[str, OverdueAction]] = set()
    while due := next(
        (one for one in approval.dues if (one.task_id, one.action) not in done), None
    ):
        done.add((due.task_id, due.action))
        approval = acted_on(approval, due, world)
    return approval


def test_what_was_due_while_nobody_looked_is_done_by_who_has_the_task_then() -> None:
    approval = after_all_is_due(begun(step(1, "wang", deadline=LATE)))
    assert closings(approval) == {"wang": Closing.ESCALATED}
    assert approval.status is Status.RETURNED
    assert approval.tasks[-1].decided_by == "chen"


def test_task_that_is_escalated_once_is_not_escalated_again_when_it_is_handed_on() -> None:
    late = replace(WORLD, now=NOW + timedelta(days=2))
    approval = begun(step(1, "wang", deadline=LATE))
    escalated = overdue(approval, OverdueAction.ESCALATE, world=late)
    act = Act(EmployeeId("chen"), (EmployeeId("a"),))
    handed = transferred(escalated, task_of(escalated, "chen"), act, late)
    mine = [due.action for due in handed.dues if due.task_id == task_of(handed, "a").task_id]
    assert mine == [OverdueAction.DECIDE]


@pytest.mark.parametrize(
    ("verb", "decision", "end"),
    [
        (delegated, BACK, Status.RETURNED),
        (delegated, YES, Status.APPROVED),
        (added_before, YES, Status.APPROVED),
        (added_before, NO, Status.REJECTED),
    ],
)
def test_step_that_decides_itself_in_time_does_so_though_a_helper_was_asked(
    verb, decision, end
) -> None:
    deadline = Deadline(Decimal(8), decide=(Decimal(20), decision))
    approval = do(begun(step(1, "wang", deadline=deadline)), verb, "wang", "a")
    assert after_all_is_due(approval).status is end


def overdue(approval: Approval, action: OverdueAction, decision=None, world=WORLD) -> Approval:
    task = approval.open_tasks[0]
    return acted_on(approval, Due(task.task_id, NOW, action, decision), world)


def test_late_task_is_reminded_of_escalated_or_decided_by_rule() -> None:
    approval = begun(step(1, "wang", deadline=LATE), step(2, "zhao"))
    after = overdue(approval, OverdueAction.REMIND)
    assert (after.facts[-1].action, asked(after)) == (OverdueAction.REMIND, ["wang"])
    after = overdue(approval, OverdueAction.ESCALATE)
    assert (asked(after), closings(after)) == (["chen"], {"wang": Closing.ESCALATED})
    assert task_of(after, "chen").verb is Verb.ESCALATE
    after = overdue(approval, OverdueAction.DECIDE, YES)
    said = next(fact for fact in after.facts if isinstance(fact, ApprovalTaskDecided))
    assert (said.automatic, said.decided_by) == (
        "overdue(step 1: approve by the definition)",
        "wang",
    )
    assert asked(after) == ["zhao"]
    assert overdue(approval, OverdueAction.DECIDE, NO).status is Status.REJECTED


@pytest.mark.parametrize(
    ("submitter", "asks"), [("lin", ["chen"]), ("chen", ["wang"]), ("zhao", ["wang", "chen"])]
)
def test_escalation_goes_up_the_line_to_neither_the_submitter_nor_who_is_asked_nor_an_administrator(
    submitter, asks
) -> None:
    step_of_them = step(1, *asks, completion=Completion.ALL)
    approval = begun(step(1, "wang") if len(asks) == 1 else step_of_them, submitter_id=submitter)
    after = overdue(approval, OverdueAction.ESCALATE)
    assert asked(after) == asks
    if asks != ["chen"]:
        assert after.facts[-1].action is OverdueAction.REMIND


def test_leavers_seat_goes_to_who_is_not_asked_in_the_step_where_someone_else_is_above() -> None:
    people = {**COMPANY.people, EmployeeId("chen"): person("chen", "boss")}
    people[EmployeeId("boss")] = person("boss", None)
    world = replace(WORLD, directory=Directory(people, {}), gone={"wang"})
    both = begun(step(1, "wang", "chen", completion=Completion.ALL))
    assert asked(rerouted(both, task_of(both, "wang"), world)) == ["chen", "boss"]
    last = replace(WORLD, gone={"wang"})
    assert asked(rerouted(both, task_of(both, "wang"), last)) == ["chen", "chen"]


def test_task_of_a_stand_in_who_leaves_goes_back_to_who_was_meant() -> None:
    away = replace(WORLD, stand_ins={"wang": "zhao"})
    approval = begun(world=away)
    back = rerouted(approval, task_of(approval, "zhao"), replace(WORLD, gone={"zhao"}))
    (task,) = back.open_tasks
    assert (task.assignee_id, task.rule, task.verb) == ("wang", "person(wang)", None)
    both = rerouted(approval, task_of(approval, "zhao"), replace(WORLD, gone={"zhao", "wang"}))
    assert asked(both) == ["chen"]


def test_who_handed_a_task_on_can_have_it_back() -> None:
    moved = do(begun(), transferred, "wang", "zhao")
    assert asked(do(moved, transferred, "zhao", "wang")) == ["wang"]
    stand_in = begun(world=replace(WORLD, stand_ins={"wang": "zhao"}))
    assert asked(do(stand_in, transferred, "zhao", "wang")) == ["wang"]
    again = say(do(begun(), delegated, "wang", "a"), "a")
    assert asked(do(again, delegated, "wang", "a")) == ["a"]
    removed_once = do(begun(), added_after, "wang", "a")
    removed_once = do(removed_once, removed, "wang", "a")
    added = do(removed_once, added_after, "wang", "a")
    assert [one.assignee_id for one in added.pending()] == ["wang", "a"]


def test_nobody_has_two_votes_of_a_step_through_a_stand_in() -> None:
    away = replace(WORLD, stand_ins={"x": "s"})
    route = step(1, "wang", "zhao", "chen", completion=Completion.RATIO, ratio=60)
    approval = begun(route)
    act = Act(EmployeeId("zhao"), (EmployeeId("x"),))
    moved = transferred(approval, task_of(approval, "zhao"), act, away)
    again = Act(EmployeeId("wang"), (EmployeeId("x"),))
    with pytest.raises(TargetAsked):
        transferred(moved, task_of(moved, "wang"), again, away)


def test_who_agreed_in_a_sequence_before_it_was_sent_back_signs_no_other_seat_of_it() -> None:
    route = step(1, "chen"), step(2, "wang", "zhao", completion=Completion.SEQUENCE)
    approval = do(say(begun(*route), "chen"), transferred, "wang", "x")
    approval = do(say(approval, "x"), returned_to_step, "zhao", to_step=1, is_straight=True)
    approval = say(approval, "chen")
    assert asked(approval) == ["zhao"]
    with pytest.raises(TargetAsked):
        do(approval, transferred, "zhao", "x")


@pytest.mark.parametrize("verb", [delegated, added_before])
def test_vote_of_who_was_away_comes_back_to_them_when_their_stand_in_has_left(verb) -> None:
    approval = do(begun(world=replace(WORLD, stand_ins={"wang": "zhao"})), verb, "zhao", "d")
    gone = replace(WORLD, gone={"zhao"})
    (task,) = say(approval, "d", world=gone).open_tasks
    assert (task.assignee_id, task.rule, task.verb) == ("wang", "person(wang)", None)


def test_task_of_a_stand_in_above_whom_no_one_is_goes_back_and_is_not_stranded() -> None:
    approval = begun(world=replace(WORLD, stand_ins={"wang": "boss"}))
    alone = Directory({EmployeeId("boss"): person("boss", None)}, {})
    world = replace(WORLD, gone={"boss"}, directory=alone)
    assert asked(rerouted(approval, task_of(approval, "boss"), world)) == ["wang"]


def test_signer_whose_stand_in_leaves_is_asked_as_who_added_them_said() -> None:
    away = replace(WORLD, stand_ins={"a": "s"})
    approval = begun()
    act = Act(EmployeeId("wang"), (EmployeeId("a"),), "请看")
    approval = added_before(approval, task_of(approval, "wang"), act, away)
    (task,) = rerouted(approval, task_of(approval, "s"), replace(WORLD, gone={"s"})).open_tasks
    assert (task.assignee_id, task.rule) == ("a", "add_sign(wang)")
    assert task.verb is Verb.ADD_SIGN_BEFORE


@pytest.mark.parametrize("verb", [delegated, added_before])
def test_late_helper_is_not_escalated_to_whose_vote_it_is(verb) -> None:
    approval = do(begun(submitter_id=EmployeeId("chen")), verb, "wang", "a")
    late = overdue(approval, OverdueAction.ESCALATE, world=above_a("wang"))
    assert (asked(late), late.facts[-1].action) == (["a"], OverdueAction.REMIND)


def test_late_task_is_not_escalated_to_a_signer_of_it_nor_to_who_handed_it_on() -> None:
    approval = do(begun(), added_after, "wang", "chen")
    assert asked(overdue(approval, OverdueAction.ESCALATE)) == ["wang"]
    approval = do(begun(step(1, "chen")), transferred, "chen", "wang")
    assert asked(overdue(approval, OverdueAction.ESCALATE)) == ["wang"]


def test_question_to_a_helper_put_after_the_hour_of_escalation_is_not_escalated_at_once() -> None:
    approval = begun(step(1, "wang", deadline=LATE))
    act = Act(EmployeeId("wang"), (EmployeeId("a"),))
    world = replace(WORLD, now=NOW + timedelta(days=2))
    after = delegated(approval, task_of(approval, "wang"), act, world)
    mine = [due.action for due in after.dues if due.task_id == task_of(after, "a").task_id]
    assert mine == [OverdueAction.DECIDE]


def test_everyone_of_the_step_it_goes_straight_back_to_is_looked_up() -> None:
    approval = begun(step(1, "wang"), step(2, "zhao"), step(3, *THREE, completion=Completion.ALL))
    approval = say(say(approval, "wang"), "zhao")
    back = do(approval, returned_to_step, "a", to_step=1, is_straight=True)
    assert {"a", "b", "c", "zhao"} <= back.may_be_asked(back.open_tasks[0])


def test_whose_vote_it_is_gives_no_opinion_on_it_besides() -> None:
    approval = do(begun(), delegated, "wang", "a")
    with pytest.raises(TargetAsked):
        do(approval, transferred, "a", "wang")


def test_late_task_of_the_oa_is_only_reminded_of_and_an_ended_one_of_nothing() -> None:
    approval = begun(mode=Mode.DELEGATED, tenant="oa")
    for action in (OverdueAction.ESCALATE, OverdueAction.DECIDE):
        after = overdue(approval, action, YES)
        assert (asked(after), after.facts[-1].action) == (["wang"], OverdueAction.REMIND)
    approval = say(begun(), "wang")
    due = Due(approval.tasks[0].task_id, NOW, OverdueAction.REMIND)
    assert acted_on(approval, due, WORLD) is approval


def test_once_an_administrator_took_over_the_rest_of_the_route_runs_here() -> None:
    found = Found(EmployeeId("ada"), "administrator (the OA differs)", by_administrator=True)
    approval = begun(
        step(1, *THREE, completion=Completion.ALL),
        step(2, "zhao"),
        mode=Mode.DELEGATED,
        tenant="oa",
    ).taken_over(found, WORLD)
    assert asked(approval) == ["ada"]
    assert set(closings(approval).values()) == {Closing.REROUTED}
    approval = say(approval, "ada")
    assert asked(approval) == ["zhao"]
    assert approval.open_tasks[0].native


def test_resubmission_goes_straight_to_who_sent_it_back_by_setting_and_says_so() -> None:
    before = say(say(begun(), "wang"), "zhao", BACK)
    again = an_approval(revision=2)
    approval = started(again, Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(approval) == ["zhao"]
    (acted,) = [fact for fact in approval.facts if isinstance(fact, ApprovalActed)]
    assert (acted.verb, acted.by, acted.to_step) == (Verb.RETURN_TO_STEP, None, 2)
    assert asked(started(again, Resubmit.FROM_START, before, WORLD)) == ["wang"]


@pytest.mark.parametrize("part", [added_before, added_after])
def test_resubmission_goes_to_whose_vote_it_is_when_an_added_signer_sent_it_back(part) -> None:
    before = do(say(begun(), "wang"), part, "zhao", "a")
    before = say(before, "zhao") if part is added_after else before
    again = started(an_approval(revision=2), Resubmit.TO_REJECTOR, say(before, "a", BACK), WORLD)
    assert asked(again) == ["zhao"]
    assert say(again, "zhao").status is Status.APPROVED


def test_resubmission_goes_to_who_sent_it_back_whatever_a_delegate_has_said() -> None:
    route = step(1, "wang", "zhao", completion=Completion.ALL), step(2, "chen")
    before = do(begun(*route), delegated, "wang", "a")
    before = say(say(before, "a", BACK), "zhao", BACK)
    again = started(an_approval(*route, revision=2), Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(again) == ["wang", "zhao"]
    route = step(1, "wang"), step(2, "zhao")
    before = say(do(say(begun(*route), "wang"), delegated, "zhao", "a"), "a", BACK)
    before = say(do(before, returned_to_step, "zhao", to_step=1), "wang", BACK)
    again = started(an_approval(*route, revision=2), Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(again) == ["wang"]


def test_resubmission_to_who_was_away_asks_them_once_they_are_back() -> None:
    away = replace(WORLD, stand_ins={"zhao": "a"})
    before = say(say(begun(), "wang", world=away), "a", BACK)
    again = started(an_approval(revision=2), Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(again) == ["zhao"]


def test_sequence_goes_on_with_who_sent_it_back() -> None:
    route = step(1, "wang"), step(2, *THREE, completion=Completion.SEQUENCE)
    second = say(say(begun(*route), "wang"), THREE[0])
    again = started(
        an_approval(*route, revision=2), Resubmit.TO_REJECTOR, say(second, THREE[1], BACK), WORLD
    )
    back = say(do(second, returned_to_step, THREE[1], to_step=1, is_straight=True), "wang")
    for approval in (again, back):
        assert asked(approval) == [THREE[1]]
        last = say(approval, THREE[1])
        assert asked(last) == [THREE[2]]
        assert say(last, THREE[2]).status is Status.APPROVED


@pytest.mark.parametrize(
    "route",
    [
        (step(1, "chen"), step(2, "zhao")),
        (step(1, "wang", "chen", completion=Completion.ALL), step(2, "zhao")),
        (step(1, "wang"), replace(step(2, "chen"), id="new"), replace(step(3, "zhao"), id="s2")),
        (step(1, "wang"), replace(step(2, "zhao"), id="other")),
    ],
)
def test_resubmission_on_another_route_begins_at_the_start(route) -> None:
    before = say(say(begun(), "wang"), "zhao", BACK)
    approval = started(an_approval(*route, revision=2), Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(approval) == [one.approver_id for one in route[0].found]


def test_resubmission_that_skips_an_earlier_step_now_still_goes_straight_back() -> None:
    before = begun(step(1, "wang"), step(2, "chen"), step(3, "zhao"))
    before = say(say(say(before, "wang"), "chen"), "zhao", BACK)
    shorter = an_approval(step(1, "wang"), replace(step(2, "zhao"), id="s3"), revision=2)
    assert asked(started(shorter, Resubmit.TO_REJECTOR, before, WORLD)) == ["zhao"]


@pytest.mark.parametrize("end", [Decision.REJECT, None])
def test_only_what_was_returned_goes_straight_back(end) -> None:
    before = say(begun(), "wang")
    before = say(before, "zhao", end) if end else before.cancelled(NOW)
    approval = started(an_approval(revision=2), Resubmit.TO_REJECTOR, before, WORLD)
    assert asked(approval) == ["wang"]


def test_clean_document_is_approved_without_a_person_and_says_by_which_rule() -> None:
    approval = an_approval(automatic="amount < 50000")
    after = started(approval, Resubmit.FROM_START, None, WORLD)
    assert (after.status, after.tasks) == (Status.APPROVED, ())
    request, ended = after.facts
    assert isinstance(request, ApprovalRequested)
    assert ended.automatic == "amount < 50000"


def test_moves_are_what_a_person_may_do_now() -> None:
    approval = say(begun(), "wang")
    task = task_of(approval, "zhao")
    assert moves(approval, task, EmployeeId("zhao")) == (
        *("approve", "reject", "return", "transfer", "delegate"),
        *("add_sign_before", "add_sign_after", "return_to_step", "copy", "comment"),
    )
    assert moves(approval, task, EmployeeId("lin")) == ("urge", "copy", "comment")
    assert moves(approval, approval.tasks[0], EmployeeId("wang")) == ("copy", "comment")


def test_refusal_says_what_changed() -> None:
    seen = an_approval(details=("hotel 680.00", "meal 20.00"))
    current = an_approval(
        revision=2,
        title="北京",
        total=Money(amount=Decimal("2.50"), currency="CNY"),
        details=("hotel 780.00", "meal 20.00"),
    )
    changed = content_changed(seen, current)
    assert changed.changed_en == (
        "what was shown is revision 1; title 上海 → 北京; total 1 CNY → 2.50 CNY;"
        " lines − hotel 680.00, + hotel 780.00"
    )
    assert "第 1 版" in changed.changed_zh
    assert "none of the revisions" in content_changed(None, current).changed_en
    assert "do not show" in content_changed(an_approval(), an_approval()).changed_en


PEOPLE = ("wang", "zhao", "chen", "a", "b", "c", "d", "e")
MOVES = (
    *("yes",) * 4,  # what ends an approval comes seldom, or nothing else would
    "no",
    "back",
    "transfer",
    "delegate",
    "before",
    "after",
    "remove",
    "to_step",
    "late",
    "gone",
    "away",
)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Completion)), st.integers(1, 3)), min_size=1, max_size=3
    ),
    st.lists(
        st.tuples(
            st.sampled_from(MOVES), st.integers(0, 3), st.sampled_from(PEOPLE), st.booleans()
        ),
        max_size=25,
    ),
)
def test_whatever_people_do_an_open_approval_asks_someone_in_one_step(completions, moves_) -> None:
    route = [
        step(n, *THREE[:many], completion=one, ratio=50 if one is Completion.RATIO else None)
        for n, (one, many) in enumerate(completions, start=1)
    ]
    approval = begun(*route)
    for move, which, target, flag in moves_:
        if approval.status is not Status.OPEN:
            break
        approval = attempt(approval, move, which, (target, flag))
        assert bool(approval.open_tasks) is (approval.status is Status.OPEN)
        assert len({task.step for task in approval.pending()}) <= 1
        assert every_unsettled_seat_asks_someone(approval)
        assert all(task.assignee_id != "lin" for task in approval.tasks)
        assert len({task.task_id for task in approval.tasks}) == len(approval.tasks)
    ends = [
        fact for fact in approval.facts if isinstance(fact, ApprovalDecided | ApprovalCancelled)
    ]
    assert len(ends) == (approval.status is not Status.OPEN)
    if approval.status is Status.APPROVED:
        done = [task.step for task in approval.tasks if task.decision is YES]
        assert {one.step for one in route} <= set(done)


def every_unsettled_seat_asks_someone(approval: Approval) -> bool:
    """No vote of the step in hand hangs on a person who was never told."""
    if approval.current_step is None:
        return True
    seats = by_seat(approval.round_of(approval.current_step)).values()
    return all(
        vote(seat) is not None or any(task.status is TaskStatus.OPEN for task in seat)
        for seat in seats
    )


REFUSED = (NotRemovable, NotYourVote, StepNotDone, TargetAsked)


def attempt(approval: Approval, move: str, which: int, told: tuple[str, bool]) -> Approval:
    """One move of whoever it may be; a refused one changes nothing."""
    target, flag = told
    task = approval.open_tasks[which % len(approval.open_tasks)]
    mine = approval.tasks[which % len(approval.tasks)] if move == "remove" else task
    act = Act(mine.assignee_id, (EmployeeId(target),), "x", to_step=which, is_straight=flag)
    decisions = {"yes": YES, "no": NO, "back": BACK}
    verbs = {
        "transfer": transferred,
        "delegate": delegated,
        "before": added_before,
        "after": added_after,
        "remove": removed,
        "to_step": returned_to_step,
    }
    if move in decisions:
        return say_to(approval, task, decisions[move])
    if move == "late":
        return acted_on(approval, Due(task.task_id, NOW, OverdueAction.ESCALATE), WORLD)
    if move == "gone":
        return rerouted(approval, task, replace(WORLD, gone={task.assignee_id}))
    if move == "away":
        return stood_in(approval, task, replace(WORLD, stand_ins={task.assignee_id: target}))
    try:
        return verbs[move](approval, mine, act, WORLD)
    except REFUSED:
        return approval


def say_to(approval: Approval, task: Task, decision: Decision) -> Approval:
    verdict = Verdict(decision, task.assignee_id, TONGLU, HASH, LATER, "因为")
    return decided(approval, task, verdict, WORLD)


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


def test_approver_reads_what_breaks_a_rule_first(claim) -> None:
    broken = (
        Violation(
            line_no=2, rule_id="hotel", severity=Severity.WARN, limit=money("600.00"), reason="展会"
        ),
        Violation(line_no=2, rule_id="late", severity=Severity.WARN),
    )
    handed_in = claim(lines=(a_line(1), a_line(2, city=None), a_line(3)), violations=broken)
    assert document_of(handed_in).details == (
        "hotel 11-20 680.00（超标，标准 600.00；原因：展会）（超标；原因：—）",
        "hotel 11-20 上海 680.00",
        "hotel 11-20 上海 680.00",
    )


def test_largest_claim_fits_into_its_event_and_each_row_into_its_field(claim, definition) -> None:
    lines = tuple(a_line(number, city="城" * 60) for number in range(1, 201))
    broken = tuple(
        Violation(line_no=n, rule_id="r", severity=Severity.WARN, reason="由" * 200)
        for n in range(1, 201)
    )
    handed_in = claim(lines=lines, violations=broken, title="题" * 200)
    route = Route(tuple(step(n, *("x" * 60 for _ in range(20))) for n in range(1, 21)))
    approval = requested(definition(), route, document_of(handed_in))
    request = started(approval, Resubmit.FROM_START, None, WORLD).facts[0]
    assert max(map(len, request.details)) == 200
    envelope = Envelope(
        id=EventId(UUID(str(uuid7()))),
        time=NOW,
        sequence=1,
        correlation_id="c-1",
        event=request,
    )
    assert len(envelope.value()) < MAX_PAYLOAD_BYTES


def test_waiting_signer_is_not_asked_and_not_told_when_the_step_ends() -> None:
    approval = do(begun(), added_after, "wang", "a")
    assert [task.status for task in approval.tasks] == [TaskStatus.OPEN, TaskStatus.WAITING]
    ended = say(approval, "wang", NO)
    assert not [fact for fact in ended.facts if getattr(fact, "assignee_id", None) == "a"]
    assert not ended.pending()
