"""What opens an approval: the document that was handed in, as its approvers read it."""

from datetime import datetime

from events import DocumentId, EmployeeId
from events.claims import ClaimSubmitted, ExpenseLine, Violation
from events.workflow import (
    ApprovalActed,
    ApprovalRequested,
    Completion,
    Decision,
    DocumentKind,
    Mode,
    Outcome,
    RouteStep,
    Verb,
)

from workflow.approval.domain.approval import Approval, Back, Status
from workflow.approval.domain.task import TONGLU, Part
from workflow.approval.domain.turns import Moment
from workflow.definition.domain import Definition, Document, PlannedStep, Resubmit, Route

_MAX_ROW = 200  # what the contract allows a row of details


def document_of(claim: ClaimSubmitted) -> Document:
    """A claim, as conditions and approvers see it."""
    return Document(
        document_id=DocumentId(claim.claim_id),
        revision=claim.revision,
        kind=DocumentKind.CLAIM,
        submitter_id=claim.employee_id,
        title=claim.title,
        total=claim.total,
        content_hash=claim.content_hash,
        handed_in_at=claim.submitted_at,
        lines=claim.lines,
        violations=claim.violations,
        details=_details(claim),
        cost_centre=claim.cost_centre,
        chosen={chosen.step: chosen.approvers for chosen in claim.chosen_approvers},
    )


def requested(definition: Definition, route: Route, document: Document) -> Approval:
    """The approval of a document that was handed in; nobody is asked yet.

    An OA cannot be asked for an administrator's step, so such a route runs here from the start.
    """
    in_oa = definition.mode is not Mode.DELEGATED or not any(
        found.by_administrator for step in route.steps for found in step.found
    )
    return Approval(
        document_id=document.document_id,
        revision=document.revision,
        kind=document.kind,
        definition=definition.label,
        mode=definition.mode if in_oa else Mode.NATIVE,
        tenant=definition.tenant if in_oa else None,
        submitter_id=document.submitter_id,
        title=document.title,
        total=document.total,
        details=document.details,
        content_hash=document.content_hash,
        route=route.steps,
        reasons=route.reasons,
        automatic=route.automatic,
    )


def started(
    approval: Approval, resubmit: Resubmit, before: Approval | None, moment: Moment
) -> Approval:
    """Say what is requested, and ask the first step; or the one that sent it back `before`."""
    said = approval.saying(_request(approval, moment.now))
    if approval.automatic is not None:
        return said.ended(Outcome.APPROVED, moment.now, moment.now, automatic=approval.automatic)
    back = None
    if resubmit is Resubmit.TO_REJECTOR and before is not None:
        back = returned_from(before, approval)
    if back is None:
        return said.asked(approval.route[0].step, moment)
    text = (
        f"重新提交：第 {before.revision} 版已通过的前序节点不再询问。"
        f" Resubmitted: the steps approved in revision {before.revision} are not asked again."
        if before
        else None
    )
    straight = ApprovalActed(
        document_id=approval.document_id,
        revision=approval.revision,
        verb=Verb.RETURN_TO_STEP,
        via=TONGLU,
        to_step=back.step,
        text=text,
        acted_at=moment.now,
    )
    return said.saying(straight).asked(back.step, moment, back)


def returned_from(before: Approval, after: Approval) -> Back | None:
    """Where the last revision was sent back from, if all that now comes earlier had approved it.

    None where a step until there is new or asks others now, or the OA's own process decides:
    begin at the start. Whoever signed in a seat may have sent it back: whose vote it is is asked.
    """
    if before.status is not Status.RETURNED or not (before.runs_here and after.runs_here):
        return None
    task = next(
        one
        for one in before.tasks
        if one.decision is Decision.RETURN and one.part is not Part.OPINION
    )
    asked = {then.id: _asks(then) for then in before.route if then.step <= task.step}
    for now in after.route:
        if asked.get(now.id) != _asks(now):
            return None
        if now.id == before.planned(task.step).id:
            return Back(now.step, task.seat, before.vote_of(task).meant)
    return None


def _asks(planned: PlannedStep) -> tuple[list[EmployeeId], Completion, int | None]:
    return [one.approver_id for one in planned.found], planned.completion, planned.ratio


def _request(approval: Approval, now: datetime) -> ApprovalRequested:
    return ApprovalRequested(
        document_id=approval.document_id,
        document_kind=approval.kind,
        revision=approval.revision,
        definition=approval.definition,
        mode=approval.mode,
        tenant=approval.tenant,
        submitter_id=approval.submitter_id,
        title=approval.title,
        total=approval.total,
        details=approval.details,
        route=tuple([_route_step(planned) for planned in approval.route]),
        content_hash=approval.content_hash,
        requested_at=now,
    )


def _route_step(planned: PlannedStep) -> RouteStep:
    first = planned.found[0]
    return RouteStep(
        step=planned.step,
        name=planned.name,
        approver_id=first.approver_id,
        rule=first.rule,
        approvers=tuple([found.approver_id for found in planned.found]),
        completion=planned.completion,
    )


def _details(claim: ClaimSubmitted) -> tuple[str, ...]:
    """One readable row a line, what breaks a rule first: what an approver must not miss."""
    broken: dict[int, str] = {}
    for one in claim.violations:
        broken[one.line_no] = broken.get(one.line_no, "") + _violation(one)
    lines = claim.lines
    if broken:
        lines = tuple(sorted(lines, key=lambda line: line.line_no not in broken))
    return tuple([(_row(line) + broken.get(line.line_no, ""))[:_MAX_ROW] for line in lines])


def _row(line: ExpenseLine) -> str:
    city = f" {line.city}" if line.city else ""
    return f"{line.category} {line.spent_on.isoformat()[5:]}{city} {line.amount.amount!s}"


def _violation(violation: Violation) -> str:
    limit = f"，标准 {violation.limit.amount}" if violation.limit else ""
    return f"（超标{limit}；原因：{violation.reason or '—'}）"
