"""What approval events, callbacks and the answers of an OA do to a submission."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog
from chassis import Tx
from events import DocumentId, TenantId
from events.workflow import ApprovalCancelled, ApprovalDecided, ApprovalRequested, Mode

from oa_connector import domain, store
from oa_connector.domain import (
    Instance,
    Move,
    Patience,
    Snapshot,
    Submission,
    SubmitResult,
)
from oa_connector.vendors import CallbackRefusedError, Hint

log = structlog.get_logger()


async def on_approval_requested(tx: Tx, event: ApprovalRequested) -> None:
    """Remember what must go to the OA; sending it is the delivery's work."""
    if event.mode is not Mode.DELEGATED:
        return
    move = domain.requested(event, tx.now)
    await store.add_submission(tx, move.submission)
    for fact in move.facts:
        tx.emit(fact)


async def on_approval_cancelled(tx: Tx, event: ApprovalCancelled) -> None:
    """The document was withdrawn: take it back from the OA."""
    await _take_back(tx, event.document_id, event.revision, "withdrawn in Tonglu 已在同路撤回")


async def on_approval_decided(tx: Tx, event: ApprovalDecided) -> None:
    """The approval has ended: a process that is still open in the OA must not go on."""
    reason = f"decided in Tonglu 已在同路审结: {event.outcome}"
    await _take_back(tx, event.document_id, event.revision, reason)


async def _take_back(tx: Tx, document_id: DocumentId, revision: int, reason: str) -> None:
    submission = await store.submission(tx, document_id, revision)
    if submission is None:
        return
    if move := domain.withdrawn(submission, reason):
        await _make(tx, move)


async def retry_submission(tx: Tx, document_id: DocumentId, revision: int) -> Submission | None:
    """A person has looked: search the OA again, then create; None when there is no such row.

    Raises:
        SubmissionNotStuckError: it does not wait for a person.
    """
    submission = await store.submission(tx, document_id, revision)
    if submission is None:
        return None
    move = domain.retried(submission)
    await _make(tx, move)
    return move.submission


async def take_callback(tx: Tx, tenant: TenantId, hint: Hint, body: bytes) -> bool:
    """Keep the callback and mark its submission due; False when the process is not ours.

    Raises:
        CallbackRefusedError: it came before; nothing is kept.
    """
    delivery = (hint.delivery_id, hint.signature)
    if not await store.add_callback(tx, tenant, delivery, hint.instance_id, body):
        raise CallbackRefusedError("replay")
    return await store.hint(tx, tenant, hint.instance_id)


async def refuse_strangers(tx: Tx, known: Sequence[TenantId]) -> None:
    """What is to go to an OA that we do not have waits for a person."""
    for taken in await store.take_strangers(tx, known):
        submission = taken.submission
        reason = f"no OA is configured under the name {submission.tenant!r}"
        with tx.caused_by(taken.origin):
            await _make(tx, domain.stuck(submission, reason, tx.now))


async def record_refusal(
    tx: Tx, held: Submission, result: SubmitResult, patience: Patience
) -> None:
    """The create was not accepted."""
    await _record(tx, held, lambda row: domain.not_created(row, result, patience, tx.now))


async def record_lookup(
    tx: Tx, held: Submission, instances: Sequence[Instance], patience: Patience
) -> None:
    """The OA was searched by business key."""
    await _record(tx, held, lambda row: domain.looked_up(row, instances, patience, tx.now))


async def record_snapshot(tx: Tx, held: Submission, snapshot: Snapshot, patience: Patience) -> None:
    """The OA reported a whole process."""
    await _record(tx, held, lambda row: domain.followed(row, snapshot, patience, tx.now))


async def record_silence(tx: Tx, held: Submission, error: str, patience: Patience) -> None:
    """The OA did not answer a question."""
    await _record(tx, held, lambda row: domain.unreachable(row, error, patience))


async def _record(tx: Tx, held: Submission, decide: Callable[[Submission], Move]) -> None:
    """Decide on the row as it is now: an event or a callback may have come during the call."""
    row = await store.leased(tx, held)
    if row is None:
        log.warning("lease lost", document_id=held.document_id, revision=held.revision)
        return
    known = replace(row, instance_id=held.instance_id or row.instance_id, lease_until=None)
    move = decide(known)
    if row.hints != held.hints or row.state is not held.state:
        move = replace(move, due_in=timedelta(0))
    await _make(tx, move)


async def _make(tx: Tx, move: Move) -> None:
    due_at = None
    if move.due_in is not None:
        # Spread, so that what failed together does not come back together.
        due_at = tx.now + move.due_in * random.uniform(1, 1.1)  # noqa: S311 -- not a secret
    await store.save(tx, move.submission, due_at)
    for fact in move.facts:
        tx.emit(fact)
