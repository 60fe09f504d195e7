"""From a claim that was handed in to its whole route and the first question."""

from datetime import datetime

from events import DocumentId, Event
from events.claims import ClaimSubmitted
from events.workflow import ApprovalRequested, DocumentKind, Mode, RouteStep

from workflow.domain.approval import Approval, PlannedStep
from workflow.domain.definition import Definition
from workflow.domain.directory import Directory, Person, find_approver

_MAX_DETAIL = 200


def plan(
    definition: Definition, submitter: Person, directory: Directory
) -> tuple[PlannedStep, ...]:
    """Every step with its person, and why it is that person.

    Raises:
        NoAdministrator: a step has no approver, and there is no administrator to take it.
    """
    return tuple(
        PlannedStep(number, step.name, find_approver(step.approver, submitter, directory))
        for number, step in enumerate(definition.steps, start=1)
    )


def requested(
    definition: Definition, claim: ClaimSubmitted, route: tuple[PlannedStep, ...], now: datetime
) -> tuple[Approval, tuple[Event, ...]]:
    """The approval of a claim that was handed in, and the first question."""
    # An administrator sorts out in Tonglu what the OA cannot know: such a route runs here whole.
    is_native = definition.mode is Mode.NATIVE or any(one.found.for_administrator for one in route)
    approval = Approval(
        document_id=DocumentId(claim.claim_id),
        revision=claim.revision,
        kind=DocumentKind.CLAIM,
        definition=definition.label,
        mode=Mode.NATIVE if is_native else Mode.DELEGATED,
        tenant=None if is_native else definition.tenant,
        submitter_id=claim.employee_id,
        title=claim.title,
        total=claim.total,
        details=_details(claim),
        content_hash=claim.content_hash,
        route=route,
    )
    asked, facts = approval.asked(route[0], route[0].found, now)
    return asked, (_request(approval, now), *facts)


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
        route=tuple(
            RouteStep(
                step=planned.step,
                name=planned.name,
                approver_id=planned.found.approver_id,
                rule=planned.found.rule,
            )
            for planned in approval.route
        ),
        content_hash=approval.content_hash,
        requested_at=now,
    )


def _details(claim: ClaimSubmitted) -> tuple[str, ...]:
    """One readable row a line, what breaks a rule first: what an approver must not miss."""
    broken = {violation.line_no: violation for violation in claim.violations}
    rows = []
    for line in sorted(claim.lines, key=lambda line: (line.line_no not in broken, line.line_no)):
        where = f" {line.city}" if line.city else ""
        money = f"{line.amount.amount} {line.amount.currency}"
        row = f"{line.category} {line.spent_on:%m-%d}{where} {money}"
        if (violation := broken.get(line.line_no)) is not None:
            limit = f"标准 {violation.limit.amount}，" if violation.limit else ""
            row += f"（{violation.rule_id}：{limit}原因：{violation.reason or '—'}）"
        rows.append(row[:_MAX_DETAIL])
    return tuple(rows)
