"""What a process that is read again, or that was decided elsewhere, comes to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from events import EmployeeId, InstanceId, TaskId
from events.oa import (
    Drift,
    InstanceStatus,
    OADecisionReceived,
    OADriftDetected,
    OADriftRepaired,
    OAInstanceClosed,
)
from events.workflow import Decision
from oa_connector import domain
from oa_connector.domain import (
    DecidedStep,
    Farewell,
    Idempotency,
    Instance,
    Patience,
    Repair,
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
def open_one(approval) -> Submission:
    new = domain.requested(approval("chen"), NOW).submission
    return replace(new, state=State.SUBMITTED, instance_id=P1, opened_at=NOW)


@pytest.fixture
def mirror(open_one) -> Submission:
    return replace(open_one, task_id=TaskId("d.1.1.1"))


def said(submission: Submission, status: Status, outcome: str | None = None, **more) -> Snapshot:
    step = DecidedStep(EmployeeId("chen"), outcome, None, NOW, step_id="t1")
    steps = (step,) if outcome else ()
    return replace(Snapshot(status, submission.content_hash, steps), **more)


def kinds(move) -> list[type]:
    return [type(fact) for fact in move.facts]


def test_an_answer_that_was_overtaken_changes_nothing(open_one):
    newer = replace(open_one, version=(200, 1))
    old = said(open_one, Status.APPROVED, "approve", version=(100, 1))
    move = domain.followed(newer, old, PATIENCE, NOW)
    assert (move.facts, move.submission) == ((), newer)


def test_another_amount_is_a_drift_and_decides_nothing(open_one):
    other = said(open_one, Status.APPROVED, "approve", amount=Decimal("9488.00"))
    move = domain.followed(open_one, other, PATIENCE, NOW)
    assert move.facts[0].drift is Drift.AMOUNT_MISMATCH
    assert OADecisionReceived not in kinds(move)


def test_the_same_amount_written_otherwise_is_the_same(open_one):
    same = said(open_one, Status.PENDING, "approve", amount=Decimal(1488))
    assert kinds(domain.followed(open_one, same, PATIENCE, NOW)) == [OADecisionReceived]


def test_a_word_for_the_state_that_we_do_not_know_ends_nothing(open_one):
    move = domain.followed(open_one, said(open_one, Status.UNKNOWN), PATIENCE, NOW)
    assert move.submission.state is State.SUBMITTED
    assert [fact.drift for fact in move.facts] == [Drift.STATE_CONFLICT]
    assert move.due_in


@pytest.fixture
def approved(open_one) -> Submission:
    ended = said(open_one, Status.APPROVED, "approve", version=(100,))
    return domain.followed(open_one, ended, PATIENCE, NOW).submission


def test_what_has_ended_is_read_again_less_and_less_often(approved):
    waits, now = [], NOW
    while True:
        move = domain.followed(approved, said(approved, Status.APPROVED), PATIENCE, now)
        approved = move.submission
        assert (move.facts, approved.state) == ((), State.CLOSED)
        if move.due_in is None:
            break
        waits.append(move.due_in)
        now += move.due_in
    assert waits[:4] == [timedelta(minutes=wait) for wait in (5, 30, 360, 1440)]
    assert now - NOW > PATIENCE.watched


@pytest.mark.parametrize(
    "status",
    [Status.REJECTED, Status.RETURNED, Status.WITHDRAWN, Status.TERMINATED, Status.PENDING],
)
def test_an_approval_taken_back_in_the_oa_is_told_once(approved, status):
    first = domain.followed(approved, said(approved, status, version=(200,)), PATIENCE, NOW)
    assert [fact.status for fact in first.facts] == [InstanceStatus.REVOKED]
    again = said(approved, status, version=(200,))
    assert domain.followed(first.submission, again, PATIENCE, NOW).facts == ()


def test_an_approval_that_vanished_afterwards_is_a_drift_and_nothing_is_taken_back(approved):
    move = domain.followed(approved, Snapshot(Status.VANISHED), PATIENCE, NOW)
    assert [fact.drift for fact in move.facts] == [Drift.VANISHED]


def test_a_rejection_that_becomes_an_approval_later_is_never_a_yes(open_one):
    ended = said(open_one, Status.REJECTED, "reject")
    closed = domain.followed(open_one, ended, PATIENCE, NOW).submission
    approved = said(open_one, Status.APPROVED, "approve")
    later = domain.followed(closed, approved, PATIENCE, NOW)
    again = domain.followed(later.submission, approved, PATIENCE, NOW)
    assert kinds(later) == [OADriftDetected]
    assert later.facts[0].drift is Drift.STATE_CONFLICT
    assert again.facts == ()


def test_a_withdrawal_that_becomes_an_approval_later_is_told_and_one_like_ours_is_not(open_one):
    gone = replace(open_one, state=State.CLOSED, status=Status.WITHDRAWN, ended_at=NOW)
    approved = said(open_one, Status.APPROVED, "approve")
    withdrawn = replace(gone, farewell=Farewell("withdrawn in Tonglu"))
    move = domain.followed(withdrawn, approved, PATIENCE, NOW)
    assert [fact.drift for fact in move.facts] == [Drift.STATE_CONFLICT]
    ours = replace(gone, farewell=Farewell("decided in Tonglu", "chen", Decision.APPROVE))
    assert domain.followed(ours, approved, PATIENCE, NOW).facts == ()


@pytest.mark.parametrize("status", [Status.PENDING, Status.REJECTED])
def test_an_approval_that_was_taken_back_and_is_given_again_is_a_drift_and_no_yes(approved, status):
    back = domain.followed(approved, said(approved, status, version=(200,)), PATIENCE, NOW)
    again = said(approved, Status.APPROVED, "approve", version=(300,))
    move = domain.followed(back.submission, again, PATIENCE, NOW)
    assert [fact.drift for fact in move.facts] == [Drift.STATE_CONFLICT]


@pytest.mark.parametrize("status", [Status.VANISHED, Status.TERMINATED, Status.REJECTED])
def test_a_rejection_that_the_oa_forgets_is_no_news(open_one, status):
    closed = replace(open_one, state=State.CLOSED, status=Status.REJECTED, ended_at=NOW)
    assert domain.followed(closed, said(open_one, status), PATIENCE, NOW).facts == ()


def test_what_was_withdrawn_and_runs_again_is_ended_again(open_one):
    gone = replace(open_one, state=State.CLOSED, status=Status.WITHDRAWN, farewell=Farewell("why"))
    move = domain.followed(gone, said(open_one, Status.PENDING), PATIENCE, NOW)
    assert (move.submission.state, move.submission.missed) == (State.WITHDRAWING, Drift.LOST_PUSH)


def test_the_watch_of_an_approval_begins_when_it_has_ended(open_one):
    """One that took forty days to be decided is watched as long as any other."""
    later = NOW + timedelta(days=40)
    closed = domain.followed(open_one, said(open_one, Status.APPROVED), PATIENCE, later)
    assert closed.due_in == timedelta(minutes=1)
    taken_over = replace(closed.submission, ended_at=None)  # by a release that did not keep it
    assert domain.followed(taken_over, said(open_one, Status.APPROVED), PATIENCE, later).due_in is (
        None
    )


@pytest.fixture
def leaving(open_one) -> Submission:
    return domain.withdrawn(open_one, Farewell("withdrawn in Tonglu")).submission


def refused_times(leaving: Submission, times: int, patience: Patience):
    """What the last of so many withdrawals in vain came to, and all that was said."""
    facts = []
    for _ in range(times):
        move = domain.followed(leaving, said(leaving, Status.PENDING), patience, NOW)
        leaving, facts = move.submission, [*facts, *move.facts]
    return move, facts


def test_a_withdrawal_that_the_oa_refuses_is_told_once_and_asked_for_seldom_from_then_on(leaving):
    move, facts = refused_times(leaving, PATIENCE.refusals - 1, PATIENCE)
    assert (facts, move.submission.state) == ([], State.WITHDRAWING)
    assert move.due_in < timedelta(minutes=1)
    move, facts = refused_times(leaving, PATIENCE.refusals + 9, PATIENCE)
    assert [fact.drift for fact in facts] == [Drift.LOST_PUSH]
    assert (move.due_in, move.submission.drift) == (PATIENCE.poll_old, None)


def test_a_withdrawal_whose_outcome_the_oa_calls_by_an_unknown_word_has_ended_nothing(leaving):
    facts = []
    for _ in range(PATIENCE.refusals + 9):
        move = domain.followed(leaving, said(leaving, Status.UNKNOWN), PATIENCE, NOW)
        leaving, facts = move.submission, [*facts, *move.facts]
        assert leaving.state is State.WITHDRAWING
    assert [fact.drift for fact in facts] == [Drift.STATE_CONFLICT, Drift.LOST_PUSH]
    assert move.due_in == PATIENCE.poll_old
    ended = domain.followed(leaving, said(leaving, Status.WITHDRAWN), PATIENCE, NOW)
    assert kinds(ended) == [OADriftRepaired, OAInstanceClosed]


def test_what_only_a_person_can_end_is_told_at_the_first_time(leaving):
    _, facts = refused_times(leaving, 1, replace(PATIENCE, refusals=1))
    assert [fact.drift for fact in facts] == [Drift.LOST_PUSH]


def test_what_was_ended_by_hand_at_last_is_said_to_be_repaired(leaving):
    move, _ = refused_times(leaving, PATIENCE.refusals + 1, PATIENCE)
    ended = domain.followed(move.submission, said(leaving, Status.WITHDRAWN), PATIENCE, NOW)
    assert kinds(ended) == [OADriftRepaired, OAInstanceClosed]
    assert ended.facts[0].drift is Drift.LOST_PUSH


def test_what_has_ended_is_not_opened_again_by_settling_that_it_had_not(leaving):
    closed = replace(leaving, state=State.CLOSED, status=Status.WITHDRAWN)
    move = domain.mended(closed, Drift.LOST_PUSH, Repair.WITHDRAW, NOW, "admin")
    assert (move.submission, move.due_in) == (closed, None)


@pytest.mark.parametrize("repair", [Repair.READ_AGAIN, Repair.WITHDRAW])
def test_what_an_administrator_has_settled_is_not_said_to_be_repaired_once_more(leaving, repair):
    lost, _ = refused_times(leaving, PATIENCE.refusals, PATIENCE)
    settled = domain.mended(lost.submission, Drift.LOST_PUSH, repair, NOW, "admin").submission
    ended = domain.followed(settled, said(leaving, Status.WITHDRAWN), PATIENCE, NOW)
    assert kinds(ended) == [OAInstanceClosed]
    _, again = refused_times(settled, PATIENCE.refusals, PATIENCE)
    assert [fact.drift for fact in again] == [Drift.LOST_PUSH]


def test_a_note_is_tried_some_times_and_then_its_process_is_ended_without_it(mirror):
    told = domain.withdrawn(mirror, Farewell("decided", "chen", Decision.APPROVE)).submission
    tries = 0
    while domain.note_due(told) is not None:
        told = domain.note_not_left(told, PATIENCE, is_refused=False)
        tries += 1
    assert tries == PATIENCE.notes
    refused = domain.note_not_left(replace(told, is_annotated=False), PATIENCE, is_refused=True)
    assert domain.note_due(refused) is None


def test_facts_about_a_mirrored_task_name_it(mirror):
    move = domain.followed(mirror, said(mirror, Status.APPROVED, "approve"), PATIENCE, NOW)
    assert {fact.task_id for fact in move.facts} == {"d.1.1.1"}
    assert kinds(move) == [OADecisionReceived, OAInstanceClosed]


@pytest.mark.parametrize(
    ("ours", "theirs", "is_conflict"),
    [
        (Decision.APPROVE, "reject", True),
        (Decision.REJECT, "approve", True),
        (Decision.APPROVE, "approve", False),
        (None, "approve", False),
    ],
)
def test_decided_in_both_at_once_the_loser_is_told_and_a_conflict_is_a_drift(
    mirror, ours, theirs, is_conflict
):
    ends = {"approve": Status.APPROVED, "reject": Status.REJECTED}
    ended = said(mirror, ends[theirs], theirs)
    closed = domain.followed(mirror, ended, PATIENCE, NOW).submission

    told = domain.withdrawn(closed, Farewell("decided in Tonglu", "E1 has decided", ours))
    assert told is not None
    assert told.due_in == timedelta(0)
    move = domain.followed(told.submission, ended, PATIENCE, NOW)

    drifts = [fact.drift for fact in move.facts if isinstance(fact, OADriftDetected)]
    assert drifts == ([Drift.STATE_CONFLICT] if is_conflict else [])
    assert domain.withdrawn(told.submission, Farewell("again", "again", ours)) is None


def listed(submission: Submission, **more) -> Instance:
    one = Instance(P1, submission.content_hash, is_open=True, business_key=submission.business_key)
    return replace(one, **more)


def test_a_process_that_has_ended_without_a_word_is_a_missed_callback(open_one):
    move = domain.compared(open_one, listed(open_one, is_open=False))
    assert move.submission.missed is Drift.MISSED_CALLBACK
    seen = domain.followed(
        move.submission, said(open_one, Status.APPROVED, "approve"), PATIENCE, NOW
    )
    assert kinds(seen) == [OADecisionReceived, OADriftRepaired, OAInstanceClosed]
    assert seen.submission.missed is None


def test_what_has_not_moved_is_left_alone(open_one):
    known = replace(open_one, version=(int(NOW.timestamp() * 1_000_000), 0))
    assert domain.compared(known, listed(known, changed_at=NOW)) is None
    later = NOW + timedelta(seconds=1)
    assert domain.compared(known, listed(known, changed_at=later)) is not None


def test_a_withdrawal_that_the_oa_has_lost_is_sent_again(open_one):
    closed = replace(open_one, state=State.CLOSED, farewell=Farewell("gone"))
    move = domain.compared(closed, listed(closed))
    assert (move.submission.state, move.submission.missed) == (State.WITHDRAWING, Drift.LOST_PUSH)


def test_a_create_that_turns_up_after_it_was_given_up_is_ended(open_one):
    given_up = replace(open_one, state=State.CLOSED, instance_id=None, farewell=Farewell("gone"))
    move = domain.compared(given_up, listed(given_up))
    assert (move.submission.state, move.submission.instance_id) == (State.WITHDRAWING, P1)


def test_a_create_that_turns_up_when_it_has_ended_too_is_left_alone(open_one):
    given_up = replace(open_one, state=State.CLOSED, instance_id=None, farewell=Farewell("gone"))
    assert domain.compared(given_up, listed(given_up, is_open=False, changed_at=NOW)) is None


def test_an_approval_that_runs_again_is_read_before_it_is_ended(approved):
    """It was taken back, and that is to be said: the farewell came while it was ending."""
    both = replace(approved, farewell=Farewell("decided in Tonglu: approved"))
    move = domain.compared(both, listed(both))
    assert (move.submission, move.due_in) == (both, timedelta(0))
    seen = domain.followed(both, said(both, Status.PENDING, version=(200,)), PATIENCE, NOW)
    assert [fact.status for fact in seen.facts] == [InstanceStatus.REVOKED]


def test_a_second_process_of_one_key_is_a_ghost_and_only_while_it_is_open(open_one):
    assert domain.is_ghost(open_one, listed(open_one, instance_id=P2))
    assert not domain.is_ghost(open_one, listed(open_one, instance_id=P2, is_open=False))
    assert not domain.is_ghost(open_one, listed(open_one))
    unsure = replace(open_one, state=State.UNKNOWN, instance_id=None)
    assert not domain.is_ghost(unsure, listed(open_one, instance_id=P2))


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("01935f5e-7b5c@3", ("01935f5e-7b5c", 3, None)),
        ("01935f5e-7b5c.2.1.4", ("01935f5e-7b5c", 2, "01935f5e-7b5c.2.1.4")),
        ("holiday-17", None),
        (None, None),
        ("", None),
        ("a@b", None),
    ],
)
def test_only_a_key_of_our_own_making_can_be_an_orphan(open_one, key, found):
    orphan = domain.orphan(open_one.tenant, listed(open_one, business_key=key))
    shown = orphan and (orphan.document_id, orphan.revision, orphan.task_id)
    assert shown == found


@pytest.mark.parametrize(
    ("repair", "state"),
    [
        (Repair.READ_AGAIN, State.SUBMITTED),
        (Repair.WITHDRAW, State.WITHDRAWING),
        (Repair.SEND_AGAIN, State.UNKNOWN),
        (Repair.DISMISS, State.CLOSED),
    ],
)
def test_each_repair_of_an_administrator_leads_where_it_says(open_one, repair, state):
    drifted = replace(open_one, state=State.CLOSED, drift=Drift.VANISHED)
    move = domain.mended(drifted, Drift.VANISHED, repair, NOW, "admin")
    assert move.submission.state is state
    assert [(fact.drift, fact.repaired_by) for fact in move.facts] == [(Drift.VANISHED, "admin")]


@pytest.mark.parametrize("state", [State.WITHDRAWING, State.CLOSED])
def test_to_read_again_takes_no_withdrawal_back(open_one, state):
    ending = replace(open_one, state=state, farewell=Farewell("why"), drift=Drift.STATE_CONFLICT)
    move = domain.mended(ending, Drift.STATE_CONFLICT, Repair.READ_AGAIN, NOW, "admin")
    assert (move.submission.state, move.submission.drift) == (State.WITHDRAWING, None)


@pytest.mark.parametrize("repair", [Repair.WITHDRAW, Repair.READ_AGAIN, Repair.DISMISS])
@pytest.mark.parametrize("drift", [Drift.GHOST, Drift.ORPHAN])
def test_what_is_done_about_a_ghost_does_nothing_to_the_process_that_is_kept(
    open_one, drift, repair
):
    other = replace(open_one, drift=Drift.AMOUNT_MISMATCH)
    move = domain.mended(other, drift, repair, NOW, "admin")
    assert (move.submission, move.due_in) == (other, None)


def test_to_settle_one_difference_leaves_another_open(open_one):
    both = replace(open_one, state=State.WITHDRAWING, drift=Drift.AMOUNT_MISMATCH)
    move = domain.mended(both, Drift.LOST_PUSH, Repair.READ_AGAIN, NOW, "admin")
    assert move.submission == both


@pytest.mark.parametrize(
    ("drift", "ours", "possible"),
    [
        (Drift.ORPHAN, None, "withdraw, dismiss"),
        (Drift.GHOST, "whole", "read_again, withdraw, dismiss"),
        (Drift.VANISHED, "whole", "read_again, withdraw, dismiss"),
        (Drift.VANISHED, "mirror", "read_again, withdraw, dismiss, send_again"),
        (Drift.VANISHED, "unsent", "dismiss, send_again"),
        (Drift.CONTENT_MISMATCH, "mirror", "read_again, withdraw, dismiss, send_again"),
        (Drift.AMOUNT_MISMATCH, "mirror", "read_again, withdraw, dismiss"),
        (Drift.UNKNOWN_PERSON, "mirror", "read_again, withdraw, dismiss"),
        (Drift.STATE_CONFLICT, "mirror", "read_again, withdraw, dismiss"),
    ],
)
def test_a_repair_that_would_mend_nothing_is_refused_with_those_that_would(
    open_one, mirror, drift, ours, possible
):
    """Of a whole approval that differs, the OA's decisions count no more."""
    rows = {None: None, "whole": open_one, "mirror": mirror}
    row = rows.get(ours, replace(mirror, instance_id=None))
    for repair in Repair:
        if repair in possible.split(", "):
            domain.demand_possible(drift, row, repair)
            continue
        with pytest.raises(domain.RepairNotPossibleError) as refused:
            domain.demand_possible(drift, row, repair)
        assert refused.value.possible == possible


@pytest.mark.parametrize("kind", [Idempotency.SERVER_KEY, Idempotency.UPSERT])
def test_an_oa_that_knows_our_key_is_searched_too_and_sent_it_again_as_often_as_any(open_one, kind):
    patience = replace(PATIENCE, idempotency=kind)
    result = SubmitResult(SubmitOutcome.UNKNOWN, detail="cut")
    row, creates = replace(open_one, state=State.NEW, instance_id=None), 0
    while row.state is State.NEW:
        creates += 1
        row = domain.not_created(replace(row, state=State.SUBMITTING), result, patience, NOW)
        row = row.submission
        assert row.state is State.UNKNOWN
        while row.state is State.UNKNOWN:
            looking = replace(row, state=State.RESOLVING)
            row = domain.looked_up(looking, [], patience, NOW).submission
    assert (row.state, creates) == (State.NEEDS_HUMAN, PATIENCE.attempts)


@pytest.mark.parametrize("kind", [Idempotency.SERVER_KEY, Idempotency.UPSERT])
def test_what_may_have_been_sent_is_looked_for_when_it_is_withdrawn(open_one, kind):
    sending = replace(open_one, state=State.SUBMITTING, instance_id=None)
    result = SubmitResult(SubmitOutcome.UNKNOWN, detail="cut")
    unsure = domain.not_created(sending, result, replace(PATIENCE, idempotency=kind), NOW)
    wanted = domain.withdrawn(unsure.submission, Farewell("why")).submission
    assert wanted.state is State.UNKNOWN
    move = domain.looked_up(wanted, [listed(open_one)], PATIENCE, NOW)
    assert (move.submission.state, move.submission.instance_id) == (State.WITHDRAWING, P1)


def test_a_duplicate_is_looked_up_at_once(open_one):
    sending = replace(open_one, state=State.SUBMITTING, instance_id=None)
    move = domain.not_created(sending, SubmitResult(SubmitOutcome.DUPLICATE), PATIENCE, NOW)
    assert (move.submission.state, move.due_in) == (State.UNKNOWN, timedelta(0))


def test_an_oa_that_cannot_be_searched_leaves_an_unknown_create_to_a_person(open_one):
    patience = replace(PATIENCE, idempotency=Idempotency.NONE)
    last = replace(open_one, state=State.RESOLVING, instance_id=None, lookups=2)
    stuck = domain.looked_up(last, [], patience, NOW).submission
    assert stuck.state is State.NEEDS_HUMAN
    # A person who has looked there by hand, and tries again, is believed, once.
    again = replace(domain.retried(stuck).submission, state=State.RESOLVING, lookups=2)
    sent = domain.looked_up(again, [], patience, NOW).submission
    assert (sent.state, sent.attempt) == (State.NEW, 1)
    lost = replace(sent, state=State.RESOLVING, lookups=2)
    assert domain.looked_up(lost, [], patience, NOW).submission.state is State.NEEDS_HUMAN


def test_a_form_that_lost_what_was_sent_is_named_as_broken(open_one):
    named = replace(open_one, state=State.SUBMITTING, lookups=2)
    assert domain.looked_up(named, [], PATIENCE, NOW).is_form_broken
    lost = [Instance(P1, None, is_open=True)]
    assert domain.looked_up(replace(named, lookups=0), lost, PATIENCE, NOW).is_form_broken


def test_the_window_of_a_list_overlaps_the_one_before_in_the_oas_own_time():
    offset, overlap = timedelta(minutes=7), timedelta(minutes=2)
    window = domain.window_since(NOW, NOW + timedelta(minutes=5), offset, overlap)
    assert window.begins == NOW - overlap
    assert window.ends == NOW + timedelta(minutes=12, seconds=1)


def test_what_still_differs_when_it_is_read_again_is_found_again_and_decides_nothing(open_one):
    forged = said(open_one, Status.APPROVED, "approve", content_hash="ff" * 32)
    drifted = domain.followed(open_one, forged, PATIENCE, NOW).submission
    again = domain.mended(drifted, Drift.CONTENT_MISMATCH, Repair.READ_AGAIN, NOW, "admin")

    move = domain.followed(again.submission, forged, PATIENCE, NOW)

    assert [fact.drift for fact in move.facts if isinstance(fact, OADriftDetected)] == [
        Drift.CONTENT_MISMATCH
    ]
    assert OADecisionReceived not in kinds(move)
