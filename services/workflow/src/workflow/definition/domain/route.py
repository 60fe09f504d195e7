"""A planned route: who is asked, in which order, by which rule; and why the others are not."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from events import ContentHash, DocumentId, EmployeeId, Money
from events.claims import ExpenseLine, Violation
from events.workflow import Completion, Decision, DocumentKind
from msgspec import Struct, field


class Document(Struct, frozen=True):
    """What conditions and approver rules can see of a document that was handed in.

    `chosen`: whom the submitter chose, by the id of the step that lets them.
    """

    document_id: DocumentId
    revision: int
    kind: DocumentKind
    submitter_id: EmployeeId
    title: str
    total: Money
    content_hash: ContentHash
    handed_in_at: datetime
    lines: tuple[ExpenseLine, ...] = ()
    violations: tuple[Violation, ...] = ()
    details: tuple[str, ...] = ()
    cost_centre: str | None = None  # None: the submitter's department bears it
    chosen: Mapping[str, tuple[EmployeeId, ...]] = field(default_factory=dict)


class Found(Struct, frozen=True, omit_defaults=True):
    """An approver of a step, and the rule by which this person was found."""

    approver_id: EmployeeId
    rule: str  # line_manager(E1001), role(finance), administrator (role(cfo): no one)
    by_administrator: bool = False


class Deadline(Struct, frozen=True):
    """How long a step may take, in working hours from when it is asked, and what then happens.

    `remind` before or at the due time; after it, `escalate` and `decide` count from the start too.
    """

    hours: Decimal
    remind: tuple[Decimal, ...] = ()
    escalate: Decimal | None = None
    decide: tuple[Decimal, Decision] | None = None


class PlannedStep(Struct, frozen=True, omit_defaults=True):
    """One step of a route with all whom it asks, never nobody. `ratio`: percent, for RATIO."""

    step: int
    id: str
    name: str
    found: tuple[Found, ...]
    completion: Completion = Completion.ONE
    ratio: int | None = None
    deadline: Deadline | None = None


class Reason(Struct, frozen=True):
    """Why a step of the definition is as it is in the route: one line of the trace.

    `step` None: it is not in the route. `zh` and `en` say the rule, its inputs and its result.
    """

    step_id: str
    step: int | None
    zh: str
    en: str


class Route(Struct, frozen=True):
    """What the planner answers. `automatic`: the rule by which no person need be asked."""

    steps: tuple[PlannedStep, ...]
    reasons: tuple[Reason, ...] = ()
    automatic: str | None = None


def stuck_steps(route: Route) -> tuple[Reason, ...]:
    """The steps that no rule could answer, so that an administrator must sort them out."""
    return tuple(
        Reason(
            step.id,
            step.step,
            f"步骤 {step.id} 没有审批人，将请管理员 {one.approver_id} 处理：{one.rule}",
            f"step {step.id} has no approver, {one.approver_id} is asked: {one.rule}",
        )
        for step in route.steps
        for one in step.found
        if one.by_administrator
    )
