"""Documents that are handed in or withdrawn, a whole batch at a time."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from chassis import Received, Retry, Tx
from events import DocumentId
from events.claims import ClaimSubmitted, ClaimWithdrawn

from workflow.approval import store
from workflow.approval.domain import Approval, document_of, requested, started
from workflow.approval.handlers.changing import NEWS_TAKES, Change, keep, moment_of_plan
from workflow.definition.domain import Document, NoAdministrator
from workflow.definition.handlers import NoDefinition, Plan, SubmitterUnknown, plan_routes

_LATER = timedelta(seconds=2)


async def on_claims(tx: Tx, batch: Sequence[Received[Any]]) -> None:
    """Plan routes and ask the first step of each; call off what was withdrawn or replaced."""
    for wave in _waves(batch):
        again = [document for document, one in wave.items() if not _is_first(one.event)]
        before = await store.latest_for_change(tx, again) if again else {}
        handed_in = [one for one in wave.values() if isinstance(one.event, ClaimSubmitted)]
        opened = await _opened(tx, [document_of(one.event) for one in handed_in], before)
        changes = [
            Change(last, last.cancelled(tx.now), wave[document].origin)
            for document, last in before.items()
            if _calls_off(wave[document].event, last)
        ]
        changes += [
            Change(None, approval, one.origin)
            for one, approval in zip(handed_in, opened, strict=True)
        ]
        await keep(tx, changes)


def _waves(batch: Sequence[Received[Any]]) -> Iterator[dict[DocumentId, Received[Any]]]:
    """The batch in its order, cut wherever a document comes again: later ones build on it."""
    wave: dict[DocumentId, Received[Any]] = {}
    for one in batch:
        document: DocumentId = one.event.claim_id
        if document in wave:
            yield wave
            wave = {}
        wave[document] = one
    if wave:
        yield wave


def _is_first(event: ClaimSubmitted | ClaimWithdrawn) -> bool:
    """Handed in for the first time: no approval can have come before."""
    return isinstance(event, ClaimSubmitted) and event.revision == 1


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
    moment = await moment_of_plan(tx, new, before.values())
    return [
        started(approval, plan.definition.resubmit, before.get(approval.document_id), moment)
        for plan, approval in zip(plans, new, strict=True)
    ]


async def _plans(tx: Tx, documents: Sequence[Document]) -> list[Plan]:
    try:
        return await plan_routes(tx, documents)
    except NoDefinition as error:
        raise Retry(str(error), after=_LATER) from error
    except SubmitterUnknown as error:
        raise Retry(str(error), after=_LATER, at_most=NEWS_TAKES) from error
    except NoAdministrator as error:
        reason = "a step has no approver, and no one but the submitter holds the role admin"
        raise Retry(reason, after=_LATER, at_most=NEWS_TAKES) from error
