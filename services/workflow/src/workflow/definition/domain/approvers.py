"""Whom a rule finds in the directory; and in doubt an administrator, never no one."""

from collections.abc import Collection, Sequence
from itertools import islice

from events import EmployeeId
from msgspec import Struct
from msgspec.structs import replace

from workflow.definition.domain.definition import (
    Approver,
    Definition,
    Rule,
    Step,
    SubmitterIsApprover,
)
from workflow.definition.domain.route import Document, Found
from workflow.directory.domain import ADMINISTRATOR, Directory, Person

MAX_RULE = 200  # what the contract allows the rule of a step


class NoAdministrator(Exception):
    """No one can take a step that has no approver: the directory names no administrator."""


class Case(Struct, frozen=True):
    """What a route is planned for."""

    definition: Definition
    document: Document
    submitter: Person
    directory: Directory

    def administrator(self, why: str) -> Found:
        return administrator(self.submitter.employee_id, self.directory, why=why)


class _Named(Struct, frozen=True):
    """Whom a rule names, here or gone; or why it names no one."""

    rule: str
    ids: Sequence[EmployeeId]
    trouble: str = "no one"

    def first(self) -> "_Named":
        return replace(self, ids=self.ids[:1])


def find_approvers(case: Case, step_id: str, step: Step) -> tuple[Found, ...]:
    """Everyone whom this step asks, each once. No one only where it skips the submitter.

    Raises:
        NoAdministrator: it takes one, and there is none.
    """
    found: dict[EmployeeId, Found] = {}
    for rule in step.rules:
        for one in _find(case, rule, _named(case, step_id, rule)):
            found.setdefault(one.approver_id, one)
    everyone = tuple(found.values())
    return everyone[:1] if step.approver is not None else everyone


def find_successor(
    leaver: Person,
    submitter_id: EmployeeId,
    directory: Directory,
    others: Collection[EmployeeId] = (),
) -> Found:
    """Who takes over what a leaver was asked: the first up the leaver's line who is here.

    `others`: who is asked in the step already, and comes only where no one else is above.

    Raises:
        NoAdministrator: it takes an administrator, and there is none.
    """
    rule = f"{Rule.LINE_MANAGER}({leaver.employee_id})"
    line = [
        id_
        for id_ in directory.managers(leaver.employee_id)
        if id_ != submitter_id and directory.is_here(id_)
    ]
    if line:
        return Found(next((id_ for id_ in line if id_ not in others), line[0]), rule)
    return administrator(submitter_id, directory, why=f"{rule}: no one")


def administrator(submitter_id: EmployeeId, directory: Directory, *, why: str) -> Found:
    """Someone who sorts out what has no approver, the same person each time.

    Raises:
        NoAdministrator: there is none.
    """
    for id_ in directory.holders(ADMINISTRATOR):
        if id_ != submitter_id:
            return Found(id_, f"administrator ({why})"[:MAX_RULE], by_administrator=True)
    raise NoAdministrator(why)


def _find(case: Case, rule: Approver, named: _Named) -> list[Found]:
    me = case.submitter.employee_id
    others = [id_ for id_ in named.ids if id_ != me]
    if not others and named.ids:
        if case.definition.submitter_is_approver is SubmitterIsApprover.SKIP:
            return []
        named = _instead(case, rule, named)
        others = [id_ for id_ in named.ids if id_ != me]
    if not others:
        return [case.administrator(f"{named.rule}: {named.trouble}")]
    return [
        Found(id_, named.rule)
        if case.directory.is_here(id_)
        else case.administrator(f"{named.rule}: {id_} is not here")
        for id_ in others
    ]


def _instead(case: Case, rule: Approver, named: _Named) -> _Named:
    """The one whom the definition asks where the rule finds the submitter alone."""
    setting = case.definition.submitter_is_approver
    said = f"{named.rule}, {setting}"
    if setting is SubmitterIsApprover.GO_UP and rule.rule is not Rule.DEPARTMENT_HEAD:
        return _line(case, said, 1)
    heads = _heads(case, said, rule.levels or 0)
    others = [id_ for id_ in heads.ids if id_ != case.submitter.employee_id]
    return replace(heads, ids=others[:1])


def _named(case: Case, step_id: str, rule: Approver) -> _Named:
    me, directory = case.submitter, case.directory
    match rule.rule:
        case Rule.LINE_MANAGER:
            named = _line(case, f"{rule.rule}({me.employee_id})", 1)
        case Rule.MANAGER_ABOVE:
            named = _line(case, f"{rule.rule}({me.employee_id}, {rule.levels})", rule.levels or 1)
        case Rule.DEPARTMENT_HEAD:
            up = f", {rule.levels}" if rule.levels else ""
            named = _heads(case, f"{rule.rule}({me.department_id}{up})", rule.levels or 0).first()
        case Rule.PERSON:
            named = _Named(f"{rule.rule}({rule.person})", [EmployeeId(str(rule.person))])
        case Rule.ROLE | Rule.OA_ROLE:
            role = case.definition.role_of(rule)
            named = _Named(f"{rule.rule}({role})", directory.holders(role))
        case Rule.COST_CENTRE_OWNER:
            named = _owner(case, rule)
        case Rule.CHOSEN_BY_SUBMITTER:
            named = _chosen(case, rule, step_id)
    return named


def _line(case: Case, said: str, levels: int) -> _Named:
    """The one so many levels up; where the line is a circle, no one is above anyone."""
    me = case.submitter.employee_id
    if case.directory.is_below_oneself(me):
        return _Named(said, (), "the line is a circle")
    return _Named(said, case.directory.managers(me)[levels - 1 : levels])


def _heads(case: Case, said: str, levels: int) -> _Named:
    path = islice(case.directory.path(case.submitter.department_id), levels, None)
    first = next(path, None)
    return _Named(said, list(case.directory.heads(first)) if first is not None else ())


def _owner(case: Case, rule: Approver) -> _Named:
    cost_centre = case.document.cost_centre
    if cost_centre is None:  # then the department bears it, and its head answers for it
        return _heads(case, f"{rule.rule}({case.submitter.department_id})", 0).first()
    owner = case.directory.owners.get(cost_centre)
    return _Named(f"{rule.rule}({cost_centre})", [owner] if owner is not None else ())


def _chosen(case: Case, rule: Approver, step_id: str) -> _Named:
    """The submitter's choice, unless it breaks the rule of the choice: in doubt it is not one."""
    ids = list(dict.fromkeys(case.document.chosen.get(step_id, ())))
    said = f"{rule.rule}({step_id})"
    if not rule.fewest <= len(ids) <= rule.most:
        return _Named(said, (), f"{len(ids)} chosen, {rule.fewest} to {rule.most} asked for")
    candidates = rule.candidates_in(case.directory)
    strangers = [
        id_
        for id_ in ids
        if (id_ not in candidates if candidates is not None else not case.directory.is_here(id_))
    ]
    if strangers:
        return _Named(said, (), f"{', '.join(strangers)} may not be chosen")
    return _Named(said, ids)
