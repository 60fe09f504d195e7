"""What each event leads to: a copy kept, a notice due, a fact of the pipeline."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from chassis import Received, Reject, Retry, Tx
from events import DocumentId, EmployeeId, Event, Money
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimRejected,
    ClaimReturned,
    ClaimSubmitted,
    PaymentFailed,
    PaymentSettled,
    PaymentStopped,
)
from events.directory import EmployeeUpdated
from events.notices import ChannelName
from events.oa import OAContractChanged, OADriftDetected, OASubmissionStuck
from events.workflow import (
    ApprovalActed,
    ApprovalOverdue,
    ApprovalRequested,
    ApprovalRevoked,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    DocumentKind,
    OverdueAction,
    Verb,
)

from notifier import store
from notifier.domain import (
    ADMINISTRATOR,
    FINANCE,
    Document,
    Employee,
    PipelineFact,
    Template,
    Tidings,
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


async def on_tasks_ended(
    tx: Tx,
    received: Sequence[Received[ApprovalTaskDecided]] | Sequence[Received[ApprovalTaskClosed]],
) -> None:
    """A task that has ended, wherever, asks nobody any more."""
    await store.end_tasks(tx, [(it.event.document_id, it.event.task_id) for it in received])


# What an act says to people. Whom the other verbs concern is told by the task that they make.
_ACTS: Mapping[Verb, Template] = {
    Verb.COPY: Template.APPROVAL_COPY,
    Verb.COMMENT: Template.APPROVAL_COMMENT,
    Verb.URGE: Template.APPROVAL_URGED,
}


@dataclass(frozen=True, slots=True)
class Notices:
    """Tells people by the channels that are switched on."""

    channels: Collection[ChannelName]

    async def on_task_assigned(self, tx: Tx, event: ApprovalTaskAssigned) -> None:
        values = {"step": event.step_name}
        if event.acting_for is not None:
            values["acting_for_id"] = event.acting_for
        task = Tidings(Template.APPROVAL_TASK, event.document_id, values, event.task_id)
        await self._tell(tx, task, await _person(tx, event.assignee_id))

    async def on_acted(self, tx: Tx, event: ApprovalActed) -> None:
        if event.verb not in _ACTS:
            return
        values = {"by_id": event.by or "", "text": event.text or ""}
        task_id = event.task_id if event.verb is Verb.URGE else None
        act = Tidings(_ACTS[event.verb], event.document_id, values, task_id)
        concerned = [it for it in await _concerned(tx, event) if it.employee_id != event.by]
        await self._tell(tx, act, concerned)

    async def on_overdue(self, tx: Tx, event: ApprovalOverdue) -> None:
        """Whoever is asked in their place, if anybody, is told by that task of their own."""
        asks = event.task_id if event.action is OverdueAction.REMIND else None
        said = {"action": event.action.value}
        late = Tidings(Template.APPROVAL_OVERDUE, event.document_id, said, asks)
        await self._tell(tx, late, await _person(tx, event.assignee_id))

    async def on_approval_revoked(self, tx: Tx, event: ApprovalRevoked) -> None:
        """Of a claim, the claim's own event tells, which knows what was paid."""
        document = await store.document(tx, event.document_id)
        if event.document_kind is DocumentKind.CLAIM or document is None:
            return
        revoked = Tidings(
            Template.APPROVAL_REVOKED, event.document_id, {"reason": event.reason, "recover": ""}
        )
        await self._tell(tx, revoked, await _person(tx, document.employee_id) + await _finance(tx))

    async def on_claim_approval_revoked(self, tx: Tx, event: ClaimApprovalRevoked) -> None:
        recover = "" if event.to_recover is None else _money(event.to_recover)
        revoked = Tidings(
            Template.APPROVAL_REVOKED,
            DocumentId(event.claim_id),
            {"reason": event.reason, "recover": recover},
        )
        await self._tell(tx, revoked, await _person(tx, event.employee_id) + await _finance(tx))

    async def on_claim_returned(self, tx: Tx, event: ClaimReturned) -> None:
        await self._tell_employee(tx, Template.CLAIM_RETURNED, event)

    async def on_claim_rejected(self, tx: Tx, event: ClaimRejected) -> None:
        await self._tell_employee(tx, Template.CLAIM_REJECTED, event)

    async def on_claim_approved(self, tx: Tx, event: ClaimApproved) -> None:
        await self._tell_employee(tx, Template.CLAIM_APPROVED, event)

    async def on_payment_settled(self, tx: Tx, event: PaymentSettled) -> None:
        values = {"paid": _money(event.amount), "receipt": event.receipt}
        paid = Tidings(Template.PAYMENT_SETTLED, DocumentId(event.claim_id), values)
        await self._tell(tx, paid, await _person(tx, event.payee_id))

    async def on_payment_failed(self, tx: Tx, event: PaymentFailed) -> None:
        values = {"paid": _money(event.amount), "reason": event.reason}
        failed = Tidings(Template.PAYMENT_FAILED, DocumentId(event.claim_id), values)
        await self._tell(tx, failed, await _person(tx, event.payee_id))

    async def on_payment_stopped(self, tx: Tx, event: PaymentStopped) -> None:
        values = {"paid": _money(event.amount), "reason": event.reason}
        stopped = Tidings(Template.PAYMENT_STOPPED, DocumentId(event.claim_id), values)
        await self._tell(tx, stopped, await _finance(tx))

    async def on_oa_stuck(self, tx: Tx, event: OASubmissionStuck) -> None:
        values = {"tenant": event.tenant, "reason": event.reason}
        stuck = Tidings(Template.OA_STUCK, event.document_id, values)
        await self._tell(tx, stuck, await _administrators(tx))

    async def on_oa_drift(self, tx: Tx, event: OADriftDetected) -> None:
        values = {"tenant": event.tenant, "reason": event.detail, "drift": event.drift.value}
        drift = Tidings(Template.OA_DRIFT, event.document_id, values)
        await self._tell(tx, drift, await _administrators(tx))

    async def on_oa_contract_changed(self, tx: Tx, event: OAContractChanged) -> None:
        """It concerns no document: the tenant stands in its place."""
        values = {
            "tenant": event.tenant,
            "form": event.template or "",
            "version": event.version or "",
            "paused": "yes" if event.paused else "",
            "degraded": "yes" if event.degraded else "",
            "reason": event.detail,
        }
        changed = Tidings(Template.OA_CONTRACT, DocumentId(event.tenant), values)
        await self._tell(tx, changed, await _administrators(tx))

    async def _tell_employee(
        self, tx: Tx, template: Template, event: ClaimReturned | ClaimRejected | ClaimApproved
    ) -> None:
        tidings = Tidings(template, DocumentId(event.claim_id))
        await self._tell(tx, tidings, await _person(tx, event.employee_id))

    async def _tell(self, tx: Tx, tidings: Tidings, recipients: Sequence[Employee]) -> None:
        cause = tx.origin.causation_id
        if cause is None:
            raise Reject("a notice needs the event that it follows from")
        document_id = tidings.document_id
        known = about(document_id, await store.document(tx, document_id))
        whole = replace(tidings, values={**known, **tidings.values})
        await store.add_notices(tx, cause, notices(whole, recipients, self.channels))


async def _person(tx: Tx, employee_id: EmployeeId) -> list[Employee]:
    person = await store.employee(tx, employee_id)
    if person is None:
        raise Retry("the directory has not named this employee yet")
    return [person]


async def _concerned(tx: Tx, event: ApprovalActed) -> list[Employee]:
    """Those whom the act names; a comment names nobody and is for the submitter and the asked."""
    if event.verb is not Verb.COMMENT:
        return [(await _person(tx, it))[0] for it in event.targets]
    document = await store.document(tx, event.document_id)
    submitter = [] if document is None else await _person(tx, document.employee_id)
    return submitter + await store.asked(tx, event.document_id)


async def _finance(tx: Tx) -> list[Employee]:
    """Those who pay; a company that has named none yet tells its administrators."""
    return await store.holders(tx, FINANCE) or await _administrators(tx)


async def _administrators(tx: Tx) -> list[Employee]:
    found = await store.holders(tx, ADMINISTRATOR)
    if not found:
        raise Retry("the directory names no administrator yet")
    return found


def _money(money: Money) -> str:
    return money_text(money.amount, money.currency)
