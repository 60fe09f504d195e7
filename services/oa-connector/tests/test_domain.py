"""The state table of a submission, and what follows from each answer of an OA."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from events import EmployeeId, InstanceId
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceClosed,
    OAInstanceOpened,
    OASubmissionStuck,
)
from events.workflow import Decision
from oa_connector import domain
from oa_connector.domain import (
    DecidedStep,
    Farewell,
    Idempotency,
    Instance,
    Patience,
    Snapshot,
    State,
    Status,
    Submission,
    SubmitOutcome,
    SubmitResult,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PATIENCE = Patience()
P1, P2 = InstanceId("p1"), InstanceId("p2")


@pytest.fixture
def new(approval) -> Submission:
    return domain.requested(approval(), NOW).submission


@pytest.fixture
def open_one(new) -> Submission:
    return replace(new, state=State.SUBMITTED, instance_id=P1, opened_at=NOW)


def step(by: str, outcome: str | None) -> DecidedStep:
    return DecidedStep(EmployeeId(by), outcome, None, NOW, step_id=f"step of {by}")


def snapshot(submission: Submission, *steps: DecidedStep, status=Status.PENDING) -> Snapshot:
    return Snapshot(status, submission.content_hash, steps)


def test_amount_travels_as_the_decimal_string_it_is(new):
    assert new.form.amount == "1488.00"


def test_a_route_without_approvers_is_never_sent(approval):
    move = domain.requested(approval(route=()), NOW)
    assert move.submission.state is State.NEEDS_HUMAN
    assert [type(fact) for fact in move.facts] == [OASubmissionStuck]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (SubmitOutcome.UNKNOWN, State.UNKNOWN),
        (SubmitOutcome.RETRY_LATER, State.NEW),
        (SubmitOutcome.REJECTED, State.NEEDS_HUMAN),
    ],
)
def test_a_create_that_was_not_accepted_goes_where_its_outcome_says(new, outcome, state):
    sending = replace(new, state=State.SUBMITTING)
    move = domain.not_created(sending, SubmitResult(outcome, detail="x"), PATIENCE, NOW)
    assert move.submission.state is state
    assert [type(f) for f in move.facts] == ([OASubmissionStuck] if state == "NEEDS_HUMAN" else [])


def test_an_unknown_create_is_looked_up_at_its_three_waits_and_only_then_sent_again(new):
    result = SubmitResult(SubmitOutcome.UNKNOWN, detail="time-out")
    move = domain.not_created(replace(new, state=State.SUBMITTING), result, PATIENCE, NOW)
    waits = [move.due_in]
    while move.submission.state is State.UNKNOWN:
        looking = replace(move.submission, state=State.RESOLVING)
        move = domain.looked_up(looking, [], PATIENCE, NOW)
        waits.append(move.due_in)
    assert [wait.total_seconds() for wait in waits] == [1, 5, 30, 0]
    assert (move.submission.state, move.submission.attempt) == (State.NEW, 2)


def test_after_five_unknown_creates_a_person_must_look(new):
    last = replace(new, state=State.RESOLVING, attempt=5, lookups=2, last_error="500 boom")
    move = domain.looked_up(last, [], PATIENCE, NOW)
    assert move.submission.state is State.NEEDS_HUMAN
    assert "500 boom" in move.facts[0].reason


def test_what_the_oa_accepted_but_cannot_find_is_never_sent_again(new):
    named = replace(new, state=State.RESOLVING, lookups=2, instance_id=P1)
    assert domain.looked_up(named, [], PATIENCE, NOW).submission.state is State.NEEDS_HUMAN


def test_of_two_processes_the_oldest_with_our_content_is_adopted(new):
    wrong = Instance(InstanceId("p0"), "ff" * 32, is_open=True)
    twins = [Instance(one, new.content_hash, is_open=True) for one in (P1, P2)]
    found = [wrong, *twins]
    move = domain.looked_up(replace(new, state=State.RESOLVING), found, PATIENCE, NOW)
    assert move.submission.instance_id == P1
    assert [type(fact) for fact in move.facts] == [OAInstanceOpened]


def test_a_process_that_lost_the_content_hash_waits_for_a_person(new):
    found = [Instance(P1, None, is_open=True)]
    move = domain.looked_up(replace(new, state=State.SUBMITTING), found, PATIENCE, NOW)
    assert move.submission.state is State.NEEDS_HUMAN


def test_silence_during_a_create_leaves_it_unknown(new):
    move = domain.unreachable(replace(new, state=State.SUBMITTING), "cut", PATIENCE, NOW)
    assert move.submission.state is State.UNKNOWN


def test_what_the_oa_answers_unreadably_each_time_waits_for_a_person_and_silence_never(open_one):
    before = domain.unreachable(open_one, "odd", PATIENCE, NOW)
    assert (before.submission.state, before.facts) == (State.SUBMITTED, ())
    move = domain.unreachable(open_one, "odd", PATIENCE, NOW, is_hopeless=True)
    assert move.submission.state is State.NEEDS_HUMAN
    assert "odd" in move.facts[0].reason
    silent = domain.unreachable(replace(open_one, failures=10_000), "cut", PATIENCE, NOW)
    assert (silent.submission.state, silent.facts) == (State.SUBMITTED, ())


def test_what_has_ended_and_cannot_be_read_is_asked_ever_more_seldom_and_not_for_ever(open_one):
    ended = replace(open_one, state=State.CLOSED, status=Status.APPROVED, ended_at=NOW)
    waits, now = [], NOW
    while True:
        move = domain.unreachable(ended, "odd", PATIENCE, now, is_hopeless=True)
        ended = move.submission
        assert (move.facts, ended.state) == ((), State.CLOSED)
        if move.due_in is None:
            break
        waits.append(move.due_in.total_seconds())
        now += move.due_in
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert now - NOW > PATIENCE.watched
    assert len(waits) < 100


def test_waits_after_silence_double_up_to_a_minute():
    waits = [PATIENCE.after_failures(n).total_seconds() for n in (1, 2, 3, 6, 7, 10_000)]
    assert waits == [1, 2, 4, 32, 60, 60]


def test_old_processes_are_polled_less_often():
    minutes = [PATIENCE.until_next_poll(timedelta(minutes=age)) for age in (0, 5, 30, 6000)]
    assert [wait.total_seconds() for wait in minutes] == [5, 5, 30, 600]


@pytest.mark.parametrize(
    ("state", "instance", "becomes"),
    [
        (State.NEW, None, State.CLOSED),
        (State.SUBMITTING, None, State.SUBMITTING),
        (State.UNKNOWN, None, State.UNKNOWN),
        (State.RESOLVING, None, State.RESOLVING),
        (State.SUBMITTED, P1, State.WITHDRAWING),
        (State.WITHDRAWING, P1, None),
        (State.NEEDS_HUMAN, None, State.UNKNOWN),
        (State.NEEDS_HUMAN, P1, State.WITHDRAWING),
        (State.CLOSED, P1, None),
    ],
)
def test_withdrawing_from_each_state(new, state, instance, becomes):
    move = domain.withdrawn(replace(new, state=state, instance_id=instance), Farewell("why"))
    assert (move.submission.state if move else None) == becomes


def test_what_is_withdrawn_during_an_unknown_create_is_ended_once_it_is_found(new):
    wanted = replace(new, state=State.RESOLVING, farewell=Farewell("why"))
    found = [Instance(P1, new.content_hash, is_open=True)]
    assert domain.looked_up(wanted, found, PATIENCE, NOW).submission.state is State.WITHDRAWING
    last = replace(wanted, lookups=2)
    assert domain.looked_up(last, [], PATIENCE, NOW).submission.state is State.CLOSED


def test_what_was_found_with_other_content_is_named_and_ended_when_it_is_withdrawn(new):
    lost = [Instance(P1, None, is_open=True)]
    stuck = domain.looked_up(replace(new, state=State.RESOLVING), lost, PATIENCE, NOW).submission
    move = domain.withdrawn(stuck, Farewell("why"))
    assert (move.submission.state, move.submission.instance_id) == (State.WITHDRAWING, P1)


@pytest.mark.parametrize("state", [State.SUBMITTING, State.RESOLVING, State.NEEDS_HUMAN])
def test_who_decided_is_still_to_be_told_when_the_whole_approval_has_ended(new, state):
    decided = Farewell("decided in Tonglu", "chen has decided", Decision.REJECT)
    told = domain.withdrawn(replace(new, state=state), decided).submission
    ended = domain.withdrawn(replace(told, state=state), Farewell("decided: rejected"))
    assert ended.submission.farewell == decided


def test_what_the_oa_accepted_and_cannot_find_is_ended_when_it_was_withdrawn_meanwhile(new):
    named = replace(new, state=State.RESOLVING, lookups=2, instance_id=P1)
    move = domain.looked_up(replace(named, farewell=Farewell("why")), [], PATIENCE, NOW)
    assert (move.submission.state, move.submission.instance_id) == (State.WITHDRAWING, P1)
    assert move.is_form_broken


@pytest.mark.parametrize("state", [state for state in State if state is not State.NEEDS_HUMAN])
def test_only_what_waits_for_a_person_can_be_tried_again(new, state):
    with pytest.raises(domain.SubmissionNotStuckError):
        domain.retried(replace(new, state=state))


def test_a_second_try_looks_before_it_creates(new):
    assert domain.retried(replace(new, state=State.NEEDS_HUMAN)).submission.state is State.UNKNOWN


def test_a_second_try_ends_the_process_that_lost_its_key_before_it_creates_another(new):
    named = replace(new, state=State.RESOLVING, lookups=2, instance_id=P1, steps_seen=1)
    again = domain.retried(domain.looked_up(named, [], PATIENCE, NOW).submission).submission
    assert domain.unwanted(again, []) == [P1]

    refused = domain.looked_up(again, [], PATIENCE, NOW, left=[P1])
    assert (refused.submission.state, refused.submission.instance_id) == (State.NEEDS_HUMAN, P1)

    ended = domain.looked_up(replace(again, lookups=2), [], PATIENCE, NOW).submission
    assert (ended.state, ended.instance_id, ended.steps_seen) == (State.NEW, None, 0)
    assert ended.attempt == 1


def test_a_second_try_takes_up_what_fits_and_remembers_what_was_seen_of_it(new):
    known = replace(new, state=State.NEEDS_HUMAN, instance_id=P1, steps_seen=1)
    again = domain.retried(known).submission
    found = [Instance(P1, new.content_hash, is_open=True)]
    assert domain.unwanted(again, found) == []
    taken_up = domain.looked_up(again, found, PATIENCE, NOW).submission
    assert (taken_up.state, taken_up.steps_seen) == (State.SUBMITTED, 1)


@pytest.mark.parametrize(
    ("listed", "kept", "ended"),
    [
        ([("p1", False), ("p2", True)], "p2", []),
        ([("p0", True), ("p1", False), ("p2", True)], "p2", ["p0"]),
        ([("p0", False), ("p1", True), ("p3", True)], "p1", ["p3", "p2"]),
        ([("p0", False), ("p1", False)], "p0", ["p2"]),
    ],
    ids=["an older end", "an older twin", "ours is lost", "nothing runs"],
)
def test_a_second_try_keeps_what_runs_and_is_ours_before_what_has_ended(new, listed, kept, ended):
    again = domain.retried(replace(new, state=State.NEEDS_HUMAN, instance_id=P2)).submission
    found = [
        Instance(InstanceId(one), new.content_hash, is_open=is_open) for one, is_open in listed
    ]
    assert domain.unwanted(again, found) == ended
    assert domain.looked_up(again, found, PATIENCE, NOW).submission.instance_id == kept


def test_a_second_try_that_finds_other_content_ends_it_and_pauses_no_form(new):
    other = [Instance(P1, "ff" * 32, is_open=True)]
    again = domain.retried(replace(new, state=State.NEEDS_HUMAN, instance_id=P1)).submission
    assert domain.unwanted(again, other) == [P1]
    move = domain.looked_up(again, other, PATIENCE, NOW)
    assert (move.submission.state, move.is_form_broken) == (State.UNKNOWN, False)
    assert not domain.looked_up(again, other, PATIENCE, NOW, left=[P1]).is_form_broken


def test_other_content_is_touched_by_nobody_before_a_person_has_looked(new):
    other = [Instance(P1, "ff" * 32, is_open=True)]
    assert domain.unwanted(replace(new, state=State.RESOLVING), other) == []


def test_what_runs_in_an_oa_that_is_gone_waits_for_it_when_it_is_withdrawn(open_one):
    told = domain.stranded(open_one, NOW).submission
    wanted = domain.withdrawn(told, Farewell("why")).submission
    waiting = domain.stranded(wanted, NOW)
    assert (waiting.submission.state, waiting.facts) == (State.NEEDS_HUMAN, ())
    assert domain.resumed(waiting.submission).submission.state is State.WITHDRAWING


def test_what_breaks_here_after_it_has_ended_is_not_begun_again(open_one):
    ended = replace(open_one, state=State.CLOSED, status=Status.APPROVED, ended_at=NOW)
    move = domain.broken(ended, "ValueError", PATIENCE, NOW)
    assert (move.submission.state, move.facts) == (State.CLOSED, ())
    assert domain.broken(open_one, "ValueError", PATIENCE, NOW).submission.state is (
        State.NEEDS_HUMAN
    )


def test_a_withdrawn_create_of_which_nothing_is_known_is_not_given_up_in_silence(new):
    """The OA cannot be searched: the process may ask people for ever."""
    patience = replace(PATIENCE, idempotency=Idempotency.NONE)
    unknown = SubmitResult(SubmitOutcome.UNKNOWN, detail="timeout")
    sent = replace(new, state=State.SUBMITTING, farewell=Farewell("withdrawn"))
    move = domain.not_created(sent, unknown, patience, NOW)
    for _ in patience.lookups:
        move = domain.looked_up(move.submission, [], patience, NOW)
    assert move.submission.state is State.NEEDS_HUMAN
    assert [type(fact) for fact in move.facts] == [OASubmissionStuck]
    again = domain.retried(move.submission)  # a person has looked
    for _ in patience.lookups:
        again = domain.looked_up(again.submission, [], patience, NOW)
    assert (again.submission.state, again.facts) == (State.CLOSED, ())


def test_what_was_refused_and_is_withdrawn_is_given_up_where_nothing_can_be_searched(new):
    patience = replace(PATIENCE, idempotency=Idempotency.NONE)
    refused = SubmitResult(SubmitOutcome.REJECTED, detail="no open account")
    move = domain.not_created(replace(new, state=State.SUBMITTING), refused, patience, NOW)
    assert move.submission.state is State.NEEDS_HUMAN
    move = domain.withdrawn(move.submission, Farewell("withdrawn"))
    for _ in patience.lookups:
        move = domain.looked_up(move.submission, [], patience, NOW)
    assert (move.submission.state, move.facts) == (State.CLOSED, ())


def test_a_row_whose_oa_is_gone_is_told_once_and_given_up_when_it_is_withdrawn(new):
    told = domain.stranded(new, NOW)
    assert [type(fact) for fact in told.facts] == [OASubmissionStuck]
    wanted = domain.withdrawn(told.submission, Farewell("why")).submission
    given_up = domain.stranded(wanted, NOW)
    assert (given_up.submission.state, given_up.facts) == (State.CLOSED, ())


def test_each_decision_is_told_once_and_in_order(open_one):
    first = domain.followed(open_one, snapshot(open_one, step("chen", "approve")), PATIENCE, NOW)
    both = snapshot(open_one, step("chen", "approve"), step("zhou", "reject"))
    second = domain.followed(first.submission, both, PATIENCE, NOW)
    again = domain.followed(second.submission, both, PATIENCE, NOW)
    told = [(f.step, f.decided_by, f.decision) for f in first.facts + second.facts]
    assert told == [(1, "chen", Decision.APPROVE), (2, "zhou", Decision.REJECT)]
    assert again.facts == ()


def test_a_decision_that_shows_up_before_one_that_was_told_is_told_and_none_twice(open_one):
    """Two of one second change places in the OA's list, or one that was slow comes in between."""
    chen, zhou = step("chen", "approve"), step("zhou", "reject")
    first = domain.followed(open_one, snapshot(open_one, zhou), PATIENCE, NOW)
    second = domain.followed(first.submission, snapshot(open_one, chen, zhou), PATIENCE, NOW)
    again = domain.followed(second.submission, snapshot(open_one, zhou, chen), PATIENCE, NOW)
    told = [(f.step, f.decided_by) for f in first.facts + second.facts]
    assert told == [(1, "zhou"), (2, "chen")]
    assert (again.facts, again.submission.steps_seen) == ((), 2)


def test_a_step_that_is_decided_anew_by_somebody_else_is_told_and_nothing_after_it_counts(open_one):
    """A ticket is reopened, and resolved by another: the yes that was told is nobody's any more."""
    chen, zhou = step("chen", "approve"), step("zhou", "approve")
    first = domain.followed(open_one, snapshot(open_one, chen), PATIENCE, NOW)
    eve = replace(chen, decided_by=EmployeeId("eve"), decided_at=NOW + timedelta(hours=1))
    seen = snapshot(open_one, eve, zhou, status=Status.APPROVED)
    second = domain.followed(first.submission, seen, PATIENCE, NOW)
    drift, closed = second.facts
    assert (drift.drift, type(closed)) == (Drift.UNKNOWN_PERSON, OAInstanceClosed)
    assert "eve" in drift.detail


@pytest.mark.parametrize("is_of_before", [False, True])
def test_a_step_whose_decider_goes_by_another_name_now_or_was_not_kept_is_no_other_step(
    open_one, is_of_before
):
    chen, zhou = step("chen", "approve"), step("zhou", "approve")
    first = domain.followed(open_one, snapshot(open_one, chen), PATIENCE, NOW).submission
    if is_of_before:
        first, chen = (
            replace(first, deciders=()),
            replace(chen, decided_at=NOW + timedelta(hours=1)),
        )
    renamed = replace(chen, decided_by=EmployeeId("chen.li"))
    second = domain.followed(first, snapshot(open_one, renamed, zhou), PATIENCE, NOW)
    (fact,) = second.facts
    assert (type(fact), fact.decided_by, fact.step) == (OADecisionReceived, "zhou", 2)
    assert second.submission.deciders[1:] == (zhou.decider,)


def test_of_a_row_begun_before_the_first_steps_count_as_told(open_one):
    begun_before = replace(open_one, steps_seen=1)
    both = snapshot(open_one, step("chen", "approve"), step("zhou", "reject"))
    move = domain.followed(begun_before, both, PATIENCE, NOW)
    assert [(f.step, f.decided_by) for f in move.facts] == [(2, "zhou")]
    assert move.submission.told == ("step of chen", "step of zhou")
    assert move.submission.deciders == ("", both.steps[1].decider)


def test_two_decisions_that_the_oa_calls_by_one_name_are_both_told(open_one):
    twice = snapshot(open_one, step("chen", "return"), step("chen", "approve"))
    first = domain.followed(open_one, twice, PATIENCE, NOW)
    assert [fact.decision for fact in first.facts] == [Decision.RETURN, Decision.APPROVE]
    assert domain.followed(first.submission, twice, PATIENCE, NOW).facts == ()


@pytest.mark.parametrize("outcome", ["agree", "APPROVE", "", None])
def test_an_unknown_word_of_the_oa_is_never_a_yes(open_one, outcome):
    seen = domain.followed(open_one, snapshot(open_one, step("chen", outcome)), PATIENCE, NOW)
    assert [fact.decision for fact in seen.facts] == [Decision.UNKNOWN]


@pytest.mark.parametrize(
    "status", [status for status in Status if status not in {Status.PENDING, Status.UNKNOWN}]
)
def test_an_ended_process_closes_with_the_status_that_the_oa_reports(open_one, status):
    move = domain.followed(open_one, snapshot(open_one, status=status), PATIENCE, NOW)
    assert move.submission.state is State.CLOSED
    closed = move.facts[-1]
    assert isinstance(closed, OAInstanceClosed)
    assert closed.status is InstanceStatus(status.value)


def test_other_content_is_reported_once_and_decides_nothing(open_one):
    other = replace(snapshot(open_one, step("chen", "approve")), content_hash="ff" * 32)
    first = domain.followed(open_one, other, PATIENCE, NOW)
    second = domain.followed(first.submission, other, PATIENCE, NOW)
    assert [fact.drift for fact in first.facts] == [Drift.CONTENT_MISMATCH]
    assert second.facts == ()


def test_nothing_is_decided_after_a_drift_even_when_the_content_comes_back(open_one):
    drifted = replace(open_one, drift=Drift.CONTENT_MISMATCH)
    seen = snapshot(open_one, step("chen", "approve"), status=Status.APPROVED)
    move = domain.followed(drifted, seen, PATIENCE, NOW)
    assert [type(fact) for fact in move.facts] == [OAInstanceClosed]


def test_a_person_off_the_route_decides_nothing_and_nobody_does_after(open_one):
    steps = [step(who, "approve") for who in ("chen", "mallory", "zhou")]
    move = domain.followed(open_one, snapshot(open_one, *steps), PATIENCE, NOW)
    decision, drift = move.facts
    assert (type(decision), decision.decided_by) == (OADecisionReceived, "chen")
    assert drift.drift is Drift.UNKNOWN_PERSON
    assert domain.followed(move.submission, snapshot(open_one, *steps), PATIENCE, NOW).facts == ()


def test_a_vanished_process_raises_an_alarm(open_one):
    move = domain.followed(open_one, Snapshot(Status.VANISHED), PATIENCE, NOW)
    assert isinstance(move.facts[0], OADriftDetected)
    assert move.facts[0].drift is Drift.VANISHED
    assert move.facts[1].status is InstanceStatus.VANISHED
