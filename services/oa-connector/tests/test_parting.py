"""What is asked of a real Flowable at the end of a process: its note, once, and then its end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from events import InstanceId
from events.oa import (
    Drift,
    OADriftDetected,
    OADriftRepaired,
    OAInstanceClosed,
    OAInstanceOpened,
    OASubmissionStuck,
)
from events.workflow import ApprovalDecided, Decision, Outcome
from oa_connector import handlers, store
from oa_connector.delivery import Delivery
from oa_connector.domain import Ability, Farewell, ProbeReport, Snapshot, State, Status
from oa_connector.vendors import ContractError, NotTakenError, NoTurnError, OAError, RefusedError
from oa_connector.vendors.flowable import Flowable
from oa_mirror import made, notes
from oa_road import PACE, QUICK, TENANT, delivering, eventually, flowable_at


class Grudging(Flowable):
    """Takes a note, or ends a process, after so many times without an answer; None: never."""

    ends_after: int | None = 0
    notes_after: int = 0
    refusal: type[OAError] = NotTakenError

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:
        if self.ends_after is None:
            return await self.fetch(instance_id)
        if self.ends_after == 0:
            return await super().withdraw(instance_id, reason)
        self.ends_after -= 1
        raise OAError("503 not now")

    async def comment(self, instance_id: InstanceId, text: str) -> None:
        if self.notes_after == 0:
            return await super().comment(instance_id, text)
        self.notes_after -= 1
        raise self.refusal("503 not now")


class Odd(Flowable):
    """Answers in a shape that we do not know when asked for a process, or for anything."""

    oddity: type[OAError] | None = ContractError
    is_all_odd = False
    looks = 0

    async def probe(self) -> ProbeReport:
        if self.is_all_odd:
            raise ContractError("a page of a proxy")
        return await super().probe()

    async def fetch(self, instance_id: InstanceId) -> Snapshot:
        self.looks += 1
        if self.oddity is not None:
            raise self.oddity("an odd process")
        return await super().fetch(instance_id)


class ByHand(Flowable):
    """Only a person can end a process there."""

    capabilities = replace(Flowable.capabilities, withdraw=Ability.MANUAL)

    async def withdraw(self, instance_id: InstanceId, reason: str) -> Snapshot:  # noqa: ARG002 -- of the port
        return await self.fetch(instance_id)


async def test_a_note_is_left_once_however_often_the_withdrawal_is_tried(database, people, mirror):
    oa = made(Grudging, people)
    oa.ends_after = 3
    await mirror.show()
    async with delivering(database, people, oa=oa):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    assert len(await notes(people, mirror.task_id)) == 1


async def test_a_note_that_the_oa_may_take_later_is_left_before_the_process_ends(
    database, people, mirror
):
    oa = made(Grudging, people)
    oa.notes_after = 2
    await mirror.show()
    async with delivering(database, people, oa=oa):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    (note,) = await notes(people, mirror.task_id)
    assert "Decided in Tonglu by chen" in note


async def test_a_note_is_not_given_up_while_the_oa_answers_nothing_else_either(
    database, people, mirror
):
    oa = made(Grudging, people)
    oa.notes_after, oa.ends_after = 4, 3
    await mirror.show()
    async with delivering(database, people, oa=oa, patience=replace(QUICK, notes=2)):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    assert len(await notes(people, mirror.task_id)) == 1


async def test_an_end_that_is_refused_after_its_note_was_is_told_in_its_own_time(
    database, people, mirror
):
    """What the note has taken in tries is no part of what the end takes."""
    oa = made(Grudging, people)
    oa.notes_after, oa.ends_after = 1_000, None
    patience = replace(QUICK, notes=4, refusals=2)
    await mirror.show()
    async with delivering(database, people, oa=oa, patience=patience):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OADriftDetected))


@pytest.mark.parametrize(("refusal", "tries"), [(NotTakenError, 2), (RefusedError, 1)])
async def test_a_note_that_cannot_be_left_holds_up_no_withdrawal_for_ever(
    database, people, mirror, refusal, tries
):
    oa = made(Grudging, people)
    oa.notes_after, oa.refusal = 1_000, refusal
    await mirror.show()
    async with delivering(database, people, oa=oa, patience=replace(QUICK, notes=2)):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    assert oa.notes_after == 1_000 - tries
    assert await notes(people, mirror.task_id) == []


async def test_who_decided_is_told_also_when_the_approval_ended_before_it_was_in_the_oa(
    database, people, mirror
):
    event = mirror.road.event
    ended = ApprovalDecided(
        document_id=event.document_id,
        document_kind=event.document_kind,
        revision=1,
        outcome=Outcome.APPROVED,
        content_hash=event.content_hash,
        decided_at=event.requested_at,
    )
    await mirror.show()
    async with database.transaction() as tx:
        lease = timedelta(seconds=0)
        await store.take_due(tx, TENANT, store.SENDING, limit=1, lease=lease)  # being sent
    await mirror.decided(Decision.APPROVE)
    async with database.transaction() as tx:
        await handlers.on_approval_decided(tx, ended)
    oa = flowable_at(people)
    await oa.submit((await mirror.submission()).command)
    async with delivering(database, people, oa=oa):
        await eventually(lambda: mirror.road.has(OAInstanceClosed))
    (note,) = await notes(people, mirror.task_id)
    assert "Decided in Tonglu by chen" in note


@pytest.mark.parametrize(
    ("oddity", "looks"),
    [(ContractError, 3), (RefusedError, 3), (NotTakenError, 5), (NoTurnError, 5), (OAError, 5)],
)
async def test_one_process_that_can_never_be_read_waits_for_a_person(
    database, people, road, oddity, looks
):
    await road.request()
    oa = made(Odd, people)
    oa.oddity = oddity
    patience = replace(QUICK, unreadable=3, unanswered=5)
    async with delivering(database, people, oa=oa, patience=patience):
        await eventually(lambda: road.has(OASubmissionStuck))
    assert (await road.submission()).state is State.NEEDS_HUMAN
    assert oa.looks == looks


async def test_an_oa_that_answers_nothing_of_use_to_anything_leaves_its_rows_waiting(
    database, people, road
):
    await road.request()
    oa = made(Odd, people)
    oa.is_all_odd = True
    patience = replace(QUICK, unreadable=3, unanswered=3)
    async with delivering(database, people, oa=oa, patience=patience):

        async def has_failed_often() -> bool:
            return (await road.submission()).failures > 6

        await eventually(has_failed_often)
        oa.is_all_odd = False
        oa.oddity = None

        async def is_well_again() -> bool:
            return (await road.submission()).failures == 0

        await eventually(is_well_again)
    assert not await road.has(OASubmissionStuck)


async def test_what_only_a_person_can_end_is_told_once_and_is_seen_when_it_has_ended(
    database, people, mirror
):
    quick = replace(QUICK, poll_old=timedelta(milliseconds=200))
    await mirror.show()
    async with delivering(database, people, oa=made(ByHand, people), patience=quick):
        await eventually(lambda: mirror.road.has(OAInstanceOpened))
        await mirror.decided(Decision.APPROVE)
        await eventually(lambda: mirror.road.has(OADriftDetected))
        (process,) = await people.processes(mirror.task_id)
        await people.call("DELETE", f"/runtime/process-instances/{process['id']}")
        await eventually(mirror.is_closed)
    async with database.transaction() as tx:
        assert await store.cases(tx, is_open=True, limit=10) == []
        (case,) = await store.cases(tx, is_open=False, limit=10)
    assert (case.resolved_by, case.repair) == ("reconciliation", None)
    said = await mirror.road.said()
    assert [type(fact) for fact in said] == [
        OAInstanceOpened,
        OADriftDetected,
        OADriftRepaired,
        OAInstanceClosed,
    ]
    assert {said[1].drift, said[2].drift} == {Drift.LOST_PUSH}


async def test_a_create_that_turns_up_after_its_document_was_withdrawn_is_ended(
    database, people, road
):
    await road.request()
    late = (await road.submission()).command
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE submission SET state = 'CLOSED', farewell = $1", '{"reason": "withdrawn"}'
        )
    oa = flowable_at(people)
    await oa.submit(late)
    await Delivery({TENANT: oa}, QUICK, PACE).reconciliation(TENANT).cycle(database)
    async with delivering(database, people, oa=oa):
        await eventually(lambda: road.has(OAInstanceClosed))
    (process,) = await people.processes(road.key)
    assert process["endTime"]
    assert (await road.submission()).state is State.CLOSED


async def test_a_ghost_that_the_oa_ends_at_last_waits_for_nobody_and_another_one_does(
    database, road
):
    await road.request()
    ours = replace(await road.submission(), instance_id=InstanceId("p1"))
    async with database.transaction() as tx:
        await handlers.record_ghost(tx, ours, InstanceId("p2"), Snapshot(Status.PENDING))
        await handlers.record_ghost(tx, ours, InstanceId("p3"), Snapshot(Status.WITHDRAWN))
        assert len(await store.cases(tx, is_open=True, limit=10)) == 1
        await handlers.record_ghost(tx, ours, InstanceId("p2"), Snapshot(Status.WITHDRAWN))
        assert await store.cases(tx, is_open=True, limit=10) == []


@pytest.mark.parametrize(
    ("instance", "farewell", "state"),
    [
        (None, None, State.UNKNOWN),
        ("p1", None, State.SUBMITTED),
        ("p1", Farewell("why"), State.WITHDRAWING),
    ],
)
async def test_rows_go_on_where_they_were_when_their_oa_is_in_the_settings_again(
    database, road, instance, farewell, state
):
    await road.request()
    async with database.transaction() as tx:
        before = await store.submission(tx, road.key)
        was = replace(
            before, state=State.SUBMITTED, instance_id=instance, steps_seen=1, told=("t",)
        )
        await store.save(tx, replace(was, farewell=farewell, opened_at=tx.now), tx.now)
        await handlers.refuse_strangers(tx, [])
        assert (await store.submission(tx, road.key)).state is State.NEEDS_HUMAN
        await handlers.refuse_strangers(tx, [TENANT])
        row = await store.submission(tx, road.key)
        assert (row.state, row.attempt, row.told, row.last_error) == (state, 1, ("t",), None)
        (due,) = await store.take_due(tx, TENANT, State, limit=1, lease=timedelta(seconds=9))
        assert due.submission.business_key == road.key
        assert [type(fact) for fact in tx.emitted] == [OASubmissionStuck]


async def test_what_waits_for_a_person_for_another_reason_goes_on_waiting(database, road):
    await road.request()
    async with database.transaction() as tx:
        await tx.execute("UPDATE submission SET state = 'NEEDS_HUMAN', last_error = 'refused'")
        await handlers.refuse_strangers(tx, [TENANT])
        assert (await store.submission(tx, road.key)).state is State.NEEDS_HUMAN


async def test_settings_that_lack_an_oa_strand_nothing_while_another_process_works_for_it(
    database, road
):
    await road.request()
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO tenant (tenant, checked_at, pulse_at) VALUES ($1, $2, $2)",
            *(TENANT, tx.now),
        )
        await handlers.refuse_strangers(tx, [])
        assert (await store.submission(tx, road.key)).state is State.NEW
        await tx.execute("UPDATE tenant SET pulse_at = $1", tx.now - timedelta(minutes=2))
        await handlers.refuse_strangers(tx, [])
        assert (await store.submission(tx, road.key)).state is State.NEEDS_HUMAN
