"""The route of a document under its definition, with the reason for each step. Pure."""

import hmac
from collections.abc import Mapping, Sequence

import cel
from events import DocumentId, EmployeeId
from events.workflow import Completion
from msgspec import Struct
from msgspec.structs import replace

from workflow.definition.domain.approvers import MAX_RULE, Case, find_approvers
from workflow.definition.domain.condition import Condition, ConditionFailed, view
from workflow.definition.domain.definition import Definition, Ratio, SameApprover, Step
from workflow.definition.domain.route import (
    Deadline,
    Document,
    Found,
    PlannedStep,
    Reason,
    Route,
)
from workflow.directory.domain import Directory, Person

DRAWS = 10_000  # a draw is one of so many numbers
_NOTHING = cel.Context()  # no condition looks at it


def draw(secret: str, document_id: DocumentId, label: str) -> int:
    """The lot of a document under a definition, 0 to DRAWS - 1; no one foresees it without secret.

    It is not of the revision: handing in again draws no other lot.
    """
    digest = hmac.digest(secret.encode(), f"{label} {document_id}".encode(), "sha256")
    return int.from_bytes(digest) % DRAWS


def plan(
    definition: Definition,
    document: Document,
    submitter: Person,
    directory: Directory,
    draw: int,
) -> Route:
    """The whole route; each step asks someone who is here and is not the submitter.

    `draw`: of the documents that need no approver, those with the lowest are audited by a person.

    Raises:
        NoAdministrator: a step has no approver, and there is no administrator to take it.
    """
    case = Case(definition, document, submitter, directory)
    conditions = definition.conditions
    shown = view(conditions, document, submitter, directory) if conditions else _NOTHING
    automatic, reasons = _automatic(definition, shown, draw)
    if automatic is not None:
        return Route((), reasons, automatic=automatic)
    turns = [_turn(case, id_, step, shown) for id_, step in definition.named_steps]
    return _route(case, _asked_once(turns, definition.same_approver), reasons)


class _Turn(Struct, frozen=True):
    """A step of the definition with whom it asks; no one where it is skipped."""

    id: str
    step: Step
    found: tuple[Found, ...]
    zh: str
    en: str


def _automatic(
    definition: Definition, shown: cel.Context, draw: int
) -> tuple[str | None, tuple[Reason, ...]]:
    """The rule by which no one need be asked, if there is one; and what came of asking for it."""
    automatic = definition.automatic
    if automatic is None:
        return None, ()
    holds, zh, en = _answer(automatic.when, shown)
    by = None
    if holds is None:
        zh, en = f"{zh}；不自动通过", f"{en}; so a person decides"
    elif holds and draw * 100 < automatic.audit_percent * DRAWS:
        zh, en = f"{zh}；被抽中，由人复核", f"{en}; drawn for audit, so a person decides"
    elif holds:
        zh, en = f"{zh}；无需审批", f"{en}; no one need be asked"
        by = f"automatic ({automatic.when.source})"[:MAX_RULE]
    return by, (Reason("automatic", None, zh, en),)


def _answer(when: Condition, shown: cel.Context) -> tuple[bool | None, str, str]:
    """Whether it holds, None where it cannot be told; in words too."""
    try:
        holds = when.holds(shown)
    except ConditionFailed as failed:
        zh, en = f"条件 {when.source} 无法求值：{failed}", f"{when.source} failed: {failed}"
        return None, zh, en
    if holds:
        return True, f"条件 {when.source} 成立", f"{when.source} holds"
    return False, f"条件 {when.source} 不成立", f"{when.source} does not hold"


def _turn(case: Case, id_: str, step: Step, shown: cel.Context) -> _Turn:
    zh, en = "", ""
    if step.when is not None:
        holds, zh, en = _answer(step.when, shown)
        if holds is None:
            return _Turn(id_, step, (case.administrator(en),), f"{zh}；请管理员判断", en)
        if not holds:
            return _Turn(id_, step, (), f"{zh}，跳过", f"{en}: skipped")
        zh, en = f"{zh}；", f"{en}; "
    found = find_approvers(case, id_, step)
    if not found:
        said = "规则只找到提交人本人，跳过", "its rules find the submitter alone: skipped"
        return _Turn(id_, step, (), zh + said[0], en + said[1])
    by = ", ".join([f"{one.rule} → {one.approver_id}" for one in found])
    return _Turn(id_, step, found, zh + by, en + by)


def _asked_once(turns: Sequence[_Turn], setting: SameApprover) -> Sequence[_Turn]:
    """Leave out of a step whoever must decide a later one too: of several the last asks."""
    if setting is SameApprover.NONE:
        return turns
    kept: list[_Turn] = []
    later: list[_Turn] = []  # those that ask someone, the next of them first
    for turn in reversed(turns):
        near = later if setting is SameApprover.ALL else later[:1]
        again = {one: by.id for by in near[::-1] for one in _must_decide(by)}
        once = _without(turn, again) if again else turn
        kept.append(once)
        if once.found:
            later.insert(0, once)
    return kept[::-1]


def _must_decide(turn: _Turn) -> set[EmployeeId]:
    """Without whose yes this step cannot agree.

    An administrator's turn is never the same: each is another thing to sort out.
    """
    needs_all = turn.step.completion in {Completion.ALL, Completion.SEQUENCE}
    if not needs_all and len(turn.found) > 1:
        return set()
    return {one.approver_id for one in turn.found if not one.by_administrator}


def _without(turn: _Turn, others: Mapping[EmployeeId, str]) -> _Turn:
    """The turn without those who must decide another step, whose id is given, as well."""
    again = _must_decide(turn) & others.keys()
    if not again:
        return turn
    left = tuple(one for one in turn.found if one.approver_id not in again)
    zh, en = ("此处不问", "not asked here") if left else ("跳过", "skipped")
    once = [one.approver_id for one in turn.found if one.approver_id in again]
    said_zh = [f"；{one} 在步骤 {others[one]} 还会审批，{zh}" for one in once]
    said_en = [f"; {one} decides step {others[one]} as well: {en}" for one in once]
    return replace(
        turn, found=left, zh="".join([turn.zh, *said_zh]), en="".join([turn.en, *said_en])
    )


def _route(case: Case, turns: Sequence[_Turn], reasons: tuple[Reason, ...]) -> Route:
    steps: list[PlannedStep] = []
    said = list(reasons)
    for turn in turns:
        if turn.found:
            steps.append(_planned(len(steps) + 1, turn))
        said.append(Reason(turn.id, len(steps) if turn.found else None, turn.zh, turn.en))
    if not steps:
        found = case.administrator("every step is skipped")
        steps.append(PlannedStep(1, "administrator", "管理员", (found,)))
        zh, en = "所有步骤都被跳过，请管理员判断", "every step is skipped: an administrator decides"
        said.append(Reason("administrator", 1, zh, en))
    return Route(tuple(steps), tuple(said))


def _planned(number: int, turn: _Turn) -> PlannedStep:
    step = turn.step
    return PlannedStep(
        step=number,
        id=turn.id,
        name=step.said,
        found=turn.found,
        completion=Completion.RATIO if isinstance(step.completion, Ratio) else step.completion,
        ratio=step.completion.ratio if isinstance(step.completion, Ratio) else None,
        deadline=_deadline(step),
    )


def _deadline(step: Step) -> Deadline | None:
    limit = step.deadline
    if limit is None:
        return None
    decide = (limit.decide.after, limit.decide.decision) if limit.decide is not None else None
    return Deadline(limit.hours, limit.remind, limit.escalate, decide)
