"""What opens an approval: the document that was handed in, as its approvers read it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from events import DocumentId, Event
from events.claims import ClaimSubmitted, ExpenseLine, Violation
from events.workflow import ApprovalRequested, DocumentKind, Mode, RouteStep

from workflow.domain.approval import Approval
from workflow.domain.definition import Definition
from workflow.domain.planning import PlannedStep

_MAX_ROW = 200  # what the contract allows a row of details


def requested(
    definition: Definition, claim: ClaimSubmitted, route: tuple[PlannedStep, ...], now: datetime
) -> tuple[Approval, tuple[Event, ...]]:
    """The approval of a claim that was handed in, and the first question.

    An OA cannot be asked for an administrator's step, so such a route runs here from the start.
    """
    in_oa = not any(planned.found.by_administrator for planned in route)
    approval = Approval(
        document_id=DocumentId(claim.claim_id),
        revision=claim.revision,
        kind=definition.kind,
        definition=definition.label,
        mode=definition.mode if in_oa else Mode.NATIVE,
        tenant=definition.tenant if in_oa else None,
        submitter_id=claim.employee_id,
        title=claim.title,
        total=claim.total,
        content_hash=claim.content_hash,
        route=route,
    )
    asked, facts = approval.asked(1, now)
    return asked, (_request(approval, claim, now), *facts)


def _request(approval: Approval, claim: ClaimSubmitted, now: datetime) -> ApprovalRequested:
    return ApprovalRequested(
        document_id=approval.document_id,
        document_kind=DocumentKind.CLAIM,
        revision=approval.revision,
        definition=approval.definition,
        mode=approval.mode,
        tenant=approval.tenant,
        submitter_id=approval.submitter_id,
        title=approval.title,
        total=approval.total,
        details=_details(claim),
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
    broken: dict[int, list[Violation]] = defaultdict(list)
    for violation in claim.violations:
        broken[violation.line_no].append(violation)
    lines = sorted(claim.lines, key=lambda line: line.line_no not in broken)
    return tuple(_row(line, broken.get(line.line_no, ())) for line in lines)


def _row(line: ExpenseLine, violations: Sequence[Violation]) -> str:
    parts = [line.category, f"{line.spent_on:%m-%d}", line.city, str(line.amount.amount)]
    said = [_violation(violation) for violation in violations]
    return (" ".join(filter(None, parts)) + "".join(said))[:_MAX_ROW]


def _violation(violation: Violation) -> str:
    limit = f"，标准 {violation.limit.amount}" if violation.limit else ""
    return f"（超标{limit}；原因：{violation.reason or '—'}）"
