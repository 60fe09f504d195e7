"""What each event leads to: a copy kept, a notice due, a fact of the pipeline."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from chassis import Received, Reject, Retry, Tx
from events import DocumentId, EmployeeId, Event
from events.claims import (
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    PaymentFailed,
    PaymentSettled,
)
from events.directory import EmployeeUpdated
from events.notices import ChannelName
from events.oa import OADriftDetected, OASubmissionStuck
from events.workflow import ApprovalRequested, ApprovalTaskAssigned

from notifier import store
from notifier.domain import (
    Document,
    Employee,
    PipelineFact,
    Template,
    about,
    money_text,
    notices,
    pipeline_fact,
)


async def on_employees_updated(tx: Tx, received: Sequence[Received[EmployeeUpdated]]) -> None:
    await store.save_employees(tx, [it.event for it in received])


async def on_claim_submitted(tx: Tx, event: ClaimSubmitted) -> None:
    document = Document(
        DocumentId(event.claim_id),
        event.revision,
        event.employee_id,
        event.title,
        event.total.amount,
        event.total.currency,
    )
    await store.save_document(tx, document)


async def on_approval_requested(tx: Tx, event: ApprovalRequested) -> None:
    """The same words as the claim's own, needed here: this topic may be ahead of the other."""
    document = Document(
        event.document_id,
        event.revision,
        event.submitter_id,
        event.title,
        event.total.amount,
        event.total.currency,
    )
    await store.save_document(tx, document)


async def on_pipeline_events(tx: Tx, received: Sequence[Received[Event]]) -> None:
    """Keep what SQL folds into the pipeline, to compare with the view."""
    facts = [pipeline_fact(it.event, it.envelope.sequence, it.envelope.time) for it in received]
    await store.add_pipeline_facts(tx, [fact for fact in facts if fact is not None])


async def fold_into_view(tx: Tx, generation: int, fact: PipelineFact) -> None:
    """Bring one claim of the view up to this fact."""
    before = await store.lock_flight(tx, generation, fact.claim_id)
    after = before.after(fact)
    if after != before:
        await store.save_flight(tx, generation, after)


@dataclass(frozen=True, slots=True)
class Notices:
    """Tells people by the channels that are switched on."""

    channels: Collection[ChannelName]

    async def on_task_assigned(self, tx: Tx, event: ApprovalTaskAssigned) -> None:
        await self._tell(
            tx,
            Template.APPROVAL_TASK,
            event.document_id,
            await _person(tx, event.assignee_id),
            {"step": event.step_name},
        )

    async def on_claim_returned(self, tx: Tx, event: ClaimReturned) -> None:
        await self._tell_employee(tx, Template.CLAIM_RETURNED, event)

    async def on_claim_rejected(self, tx: Tx, event: ClaimRejected) -> None:
        await self._tell_employee(tx, Template.CLAIM_REJECTED, event)

    async def on_claim_approved(self, tx: Tx, event: ClaimApproved) -> None:
        await self._tell_employee(tx, Template.CLAIM_APPROVED, event)

    async def on_payment_settled(self, tx: Tx, event: PaymentSettled) -> None:
        await self._tell(
            tx,
            Template.PAYMENT_SETTLED,
            DocumentId(event.claim_id),
            await _person(tx, event.payee_id),
            {
                "paid": money_text(event.amount.amount, event.amount.currency),
                "receipt": event.receipt,
            },
        )

    async def on_payment_failed(self, tx: Tx, event: PaymentFailed) -> None:
        await self._tell(
            tx,
            Template.PAYMENT_FAILED,
            DocumentId(event.claim_id),
            await _person(tx, event.payee_id),
            {
                "paid": money_text(event.amount.amount, event.amount.currency),
                "reason": event.reason,
            },
        )

    async def on_oa_stuck(self, tx: Tx, event: OASubmissionStuck) -> None:
        values = {"tenant": event.tenant, "reason": event.reason}
        await self._tell(
            tx, Template.OA_STUCK, event.document_id, await _administrators(tx), values
        )

    async def on_oa_drift(self, tx: Tx, event: OADriftDetected) -> None:
        values = {"tenant": event.tenant, "reason": event.detail, "drift": event.drift.value}
        await self._tell(
            tx, Template.OA_DRIFT, event.document_id, await _administrators(tx), values
        )

    async def _tell_employee(
        self, tx: Tx, template: Template, event: ClaimReturned | ClaimRejected | ClaimApproved
    ) -> None:
        recipients = await _person(tx, event.employee_id)
        await self._tell(tx, template, DocumentId(event.claim_id), recipients, {})

    async def _tell(
        self,
        tx: Tx,
        template: Template,
        document_id: DocumentId,
        recipients: Sequence[Employee],
        values: Mapping[str, str],
    ) -> None:
        cause = tx.origin.causation_id
        if cause is None:
            raise Reject("a notice needs the event that it follows from")
        known = about(document_id, await store.document(tx, document_id))
        due = notices(template, document_id, recipients, self.channels, {**known, **values})
        await store.add_notices(tx, cause, due)


async def _person(tx: Tx, employee_id: EmployeeId) -> list[Employee]:
    person = await store.employee(tx, employee_id)
    if person is None:
        raise Retry("the directory has not named this employee yet")
    return [person]


async def _administrators(tx: Tx) -> list[Employee]:
    found = await store.administrators(tx)
    if not found:
        raise Retry("the directory names no administrator yet")
    return found
