"""Documents that are handed in or withdrawn, a whole batch at a time."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from chassis import Received, Retry, Tx
from events import DocumentId
from events.claims import ClaimSubmitted, ClaimWithdrawn

from workflow.approval import store
from workflow.approval.domain import Approval, document_of, requested, started
from workflow.approval.handlers.changing import Change, keep, moment_of_plan
from workflow.definition.domain import Document, NoAdministrator
from workflow.definition.handlers import NoDefinition, Plan, SubmitterUnknown, plan_routes

_LATER = timedelta(seconds=2)


async def on_claims(tx: Tx, batch: Sequence[Received[Any]]) -> None:
    """Plan routes and ask the first step of each; call off what was withdrawn or replaced."""
    for wave in _waves(batch):
        before = await store.latest_for_change(tx, {DocumentId(one.event.claim_id) for one in wave})
        handed_in = [
            (one.event, one.origin) for one in wave if isinstance(one.event, ClaimSubmitted)
        ]
        opened = await _opened(tx, [document_of(claim) for claim, _ in handed_in], before)
        changes = []
        for one in wave:
            last = before.get(DocumentId(one.event.claim_id))
            if last is not None and _calls_off(one.event, last):
                changes.append(Change(last, last.cancelled(tx.now), one.origin))
        changes += [
            Change(None, approval, origin)
            for (_, origin), approval in zip(handed_in, opened, strict=True)
        ]
        await keep(tx, changes)


def _waves(batch: Sequence[Received[Any]]) -> Iterator[list[Received[Any]]]:
    """The batch in its order, cut wherever a document comes again: later ones build on it."""
    wave: dict[str, Received[Any]] = {}
    for one in batch:
        if one.event.claim_id in wave:
            yield list(wave.values())
            wave = {}
        wave[one.event.claim_id] = one
    if wave:
        yield list(wave.values())


def _calls_off(event: ClaimSubmitted | ClaimWithdrawn, last: Approval) -> bool:
    """Handed in anew, or the very revision was withdrawn."""
    return isinstance(event, ClaimSubmitted) or event.revision == last.revision


async def _opened(
    tx: Tx, documents: Sequence[Document], before: dict[DocumentId, Approval]
) -> list[Approval]:
    if not documents:
        return []
    plans = await _plans(tx, documents)
    new = [
        requested(plan.definition, plan.route, document)
        for plan, document in zip(plans, documents, strict=True)
    ]
    moment = await moment_of_plan(tx, new)
    return [
        started(approval, plan.definition.resubmit, before.get(approval.document_id), moment)
        for plan, approval in zip(plans, new, strict=True)
    ]


async def _plans(tx: Tx, documents: Sequence[Document]) -> list[Plan]:
    try:
        return await plan_routes(tx, documents)
    except (NoDefinition, SubmitterUnknown) as error:
        raise Retry(str(error), after=_LATER) from error
    except NoAdministrator as error:
        raise Retry("a step has no approver, and no one holds the role admin") from error
