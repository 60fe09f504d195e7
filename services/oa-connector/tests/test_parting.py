"""What is asked of a real Flowable at the end of a process: its note, once, and then its end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from events import InstanceId
from events.oa import Drift, OADriftDetected, OADriftRepaired, OAInstanceClosed, OAInstanceOpened
from events.workflow import ApprovalDecided, Decision, Outcome
from oa_connector import handlers, store
from oa_connector.delivery import Delivery
from oa_connector.domain import Ability, Snapshot, State
from oa_connector.vendors import OAError, RefusedError
from oa_connector.vendors.flowable import Flowable
from oa_mirror import made, notes
from oa_road import PACE, QUICK, TENANT, delivering, eventually, flowable_at


class Grudging(Flowable):
    """Takes a note, or ends a process, after so many times without an answer; None: never."""

    ends_after: int | None = 0
    notes_after: int = 0
    refusal: type[OAError] = OAError

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


@pytest.mark.parametrize(("refusal", "tries"), [(OAError, 2), (RefusedError, 1)])
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
