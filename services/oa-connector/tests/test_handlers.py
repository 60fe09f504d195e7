"""What events and answers do to the rows, on a real PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest
from chassis import Origin
from events import InstanceId, TenantId
from events.oa import (
    Drift,
    OADecisionReceived,
    OADriftDetected,
    OAInstanceOpened,
    OASubmissionStuck,
)
from events.workflow import ApprovalCancelled, ApprovalDecided, Mode, Outcome
from oa_connector import handlers, store
from oa_connector.domain import Instance, Patience, Repair, Snapshot, State, Status

FLOWABLE = TenantId("flowable")
LEASE = timedelta(seconds=30)
PATIENCE = Patience()
P1 = InstanceId("p1")


async def take(tx, states):
    return await store.take_due(tx, FLOWABLE, states, limit=10, lease=LEASE)


async def opened(tx, event):
    """The submission of this event, with process p1 in the OA."""
    await handlers.on_approval_requested(tx, event)
    taken = (await take(tx, store.SENDING))[0].submission
    found = [Instance(P1, event.content_hash, is_open=True)]
    await handlers.record_lookup(tx, taken, found, PATIENCE)
    return await store.submission(tx, f"{event.document_id}@1")


async def test_a_delegated_approval_is_due_at_once_and_only_once(database, approval):
    event = approval()
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        await handlers.on_approval_requested(tx, event)
        assert [one.submission.state for one in await take(tx, store.SENDING)] == ["SUBMITTING"]
        assert await take(tx, store.SENDING) == []


@pytest.mark.parametrize("mode", [Mode.NATIVE, Mode.UNKNOWN])
async def test_an_approval_that_is_not_delegated_stays_here(database, approval, mode):
    event = approval(mode=mode)
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        assert await store.submission(tx, f"{event.document_id}@1") is None


@pytest.mark.parametrize("tenant", [TenantId("other"), None])
async def test_an_oa_that_we_do_not_have_waits_for_a_person(database, approval, tenant):
    event = approval(tenant=tenant)
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        await handlers.refuse_strangers(tx, [FLOWABLE])
        await handlers.refuse_strangers(tx, [FLOWABLE])
        assert [type(fact) for fact in tx.emitted] == [OASubmissionStuck]
        row = await store.submission(tx, f"{event.document_id}@1")
    assert row.state is State.NEEDS_HUMAN


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
async def test_rows_of_an_oa_that_we_no_longer_have_wait_for_a_person(database, approval, state):
    event = approval(tenant=TenantId("gone"))
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        await tx.execute("UPDATE submission SET state = $1", state)
        await handlers.refuse_strangers(tx, [FLOWABLE])
        await handlers.refuse_strangers(tx, [FLOWABLE])
        assert [type(fact) for fact in tx.emitted] == [OASubmissionStuck]
        key = f"{event.document_id}@1"
        await handlers.retry_submission(tx, key)
        await handlers.refuse_strangers(tx, [FLOWABLE])
        assert [type(fact) for fact in tx.emitted] == [OASubmissionStuck] * 2
        assert (await store.submission(tx, key)).state is State.NEEDS_HUMAN


async def test_a_row_that_somebody_works_on_is_not_refused_yet(database, approval):
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, approval())
        await take(tx, store.SENDING)
        await handlers.refuse_strangers(tx, [])
        assert tx.emitted == ()


async def test_a_difference_that_waits_already_is_not_told_again(database, approval):
    """Settling another one may let it be found anew; whoever looks into it is not asked twice."""
    event = approval()
    other = Snapshot(Status.PENDING, "ff" * 32)
    async with database.transaction() as tx:
        await opened(tx, event)
        for _ in range(2):
            held = (await take(tx, store.FOLLOWING))[0].submission
            await store.hint(tx, FLOWABLE, P1)
            await handlers.record_snapshot(tx, held, other, PATIENCE)
            await tx.execute("UPDATE submission SET drift = NULL")
        drifts = [fact for fact in tx.emitted if isinstance(fact, OADriftDetected)]
        assert [one.drift for one in drifts] == [Drift.CONTENT_MISMATCH]


async def test_the_cause_of_a_request_is_the_cause_of_what_follows_much_later(database, approval):
    origin = Origin(correlation_id="head", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    async with database.transaction(origin) as tx:
        await handlers.on_approval_requested(tx, approval())
    async with database.transaction() as tx:
        assert [one.origin for one in await take(tx, store.SENDING)] == [origin]


async def test_what_was_withdrawn_before_it_was_sent_is_never_sent(database, approval):
    event = approval()
    cancelled = ApprovalCancelled(
        document_id=event.document_id, revision=1, cancelled_at=event.requested_at
    )
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, event)
        await handlers.on_approval_cancelled(tx, cancelled)
        assert await take(tx, store.SENDING) == []
        assert (await store.submission(tx, f"{event.document_id}@1")).state is State.CLOSED


async def test_an_approval_that_ends_here_ends_an_open_process_and_leaves_an_ended_one(
    database, approval
):
    event = approval()
    decided = ApprovalDecided(
        document_id=event.document_id,
        document_kind=event.document_kind,
        revision=1,
        outcome=Outcome.REJECTED,
        content_hash=event.content_hash,
        decided_at=event.requested_at,
    )
    async with database.transaction() as tx:
        await opened(tx, event)
        await handlers.on_approval_decided(tx, decided)
        taken = (await take(tx, store.FOLLOWING))[0].submission
        assert taken.state is State.WITHDRAWING
        ended = Snapshot(Status.WITHDRAWN, event.content_hash)
        await handlers.record_snapshot(tx, taken, ended, PATIENCE)
        await handlers.on_approval_decided(tx, decided)
        assert (await store.submission(tx, f"{event.document_id}@1")).state is State.CLOSED


async def test_an_approval_of_another_service_is_none_of_ours(database, approval):
    event = approval()
    async with database.transaction() as tx:
        cancelled = ApprovalCancelled(
            document_id=event.document_id, revision=1, cancelled_at=event.requested_at
        )
        await handlers.on_approval_cancelled(tx, cancelled)
        assert tx.emitted == ()


async def test_whoever_lost_the_lease_records_nothing(database, approval):
    async with database.transaction() as tx:
        row = await opened(tx, approval())
        held = replace(row, lease_until=tx.now - LEASE)
        await handlers.record_snapshot(tx, held, Snapshot(Status.APPROVED), PATIENCE)
        assert [type(fact) for fact in tx.emitted] == [OAInstanceOpened]
        assert await store.submission(tx, row.business_key) == row


async def test_a_hint_during_a_read_makes_it_read_again_at_once(database, approval):
    event = approval()
    async with database.transaction() as tx:
        await opened(tx, event)
        held = (await take(tx, store.FOLLOWING))[0].submission
        assert await store.hint(tx, FLOWABLE, P1)
        still = Snapshot(Status.PENDING, event.content_hash)
        await handlers.record_snapshot(tx, held, still, PATIENCE)
        again = (await take(tx, store.FOLLOWING))[0].submission
        await handlers.record_snapshot(tx, again, still, PATIENCE)
        assert await take(tx, store.FOLLOWING) == []


async def test_a_withdrawal_that_came_during_a_read_was_not_refused_by_it(database, approval):
    event = approval()
    cancelled = ApprovalCancelled(
        document_id=event.document_id, revision=1, cancelled_at=event.requested_at
    )
    async with database.transaction() as tx:
        await opened(tx, event)
        held = (await take(tx, store.FOLLOWING))[0].submission
        await handlers.on_approval_cancelled(tx, cancelled)
        still = Snapshot(Status.PENDING, event.content_hash)
        await handlers.record_snapshot(tx, held, still, replace(PATIENCE, refusals=1))
        row = (await take(tx, store.FOLLOWING))[0].submission
        assert (row.state, row.tries) == (State.WITHDRAWING, 0)
        assert [type(fact) for fact in tx.emitted] == [OAInstanceOpened]


async def test_a_create_whose_holder_fell_silent_is_looked_up(database, approval):
    async with database.transaction() as tx:
        await handlers.on_approval_requested(tx, approval())
        await take(tx, store.SENDING)
    later = tx.now + LEASE + timedelta(seconds=1)
    database.clock = lambda: later
    async with database.transaction() as tx:
        assert [one.submission.state for one in await take(tx, store.SENDING)] == ["RESOLVING"]


async def test_a_snapshot_taken_twice_is_told_once(database, approval, chen_approved):
    event = approval()
    async with database.transaction() as tx:
        await opened(tx, event)
        for _ in range(2):
            held = (await take(tx, store.FOLLOWING))[0].submission
            await store.hint(tx, FLOWABLE, P1)
            await handlers.record_snapshot(tx, held, chen_approved(event), PATIENCE)
        decisions = [fact for fact in tx.emitted if isinstance(fact, OADecisionReceived)]
        assert [one.decided_by for one in decisions] == ["chen"]


async def test_a_look_that_was_under_way_undoes_nothing_that_a_person_has_sent_anew(
    database, approval
):
    event, other = approval(), Snapshot(Status.PENDING, "b2" * 32)
    async with database.transaction() as tx:
        row = await opened(tx, event)
        await tx.execute("UPDATE submission SET task_id = business_key")
        (held,) = await take(tx, store.FOLLOWING)
        await handlers.record_snapshot(tx, held.submission, other, PATIENCE)
        await tx.execute("UPDATE submission SET next_at = $1", tx.now)
        (held,) = await take(tx, store.FOLLOWING)
        (case,) = await store.cases(tx, is_open=True, limit=10)
        await handlers.resolve_drift(tx, case.id, Repair.SEND_AGAIN, "seen", "admin")
        said = len(tx.emitted)
        await handlers.record_snapshot(tx, held.submission, other, PATIENCE)
        after = await store.submission(tx, row.business_key)
        assert (after.state, after.drift, after.attempt) == (State.UNKNOWN, None, 0)
        assert len(tx.emitted) == said
