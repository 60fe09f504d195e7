"""How documents of one kind are approved: steps as data, written by the company."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from events import EmployeeId, TenantId
from events.workflow import Completion, Decision, DocumentKind, Mode
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from workflow.definition.domain.condition import Condition, ConditionInvalid, compiled
from workflow.definition.domain.names import Place
from workflow.directory.domain import Directory

_MAX_CONDITION = 1000
_MOST_CHOSEN = 20


class Rule(StrEnum):
    """How the approvers of a step are found."""

    LINE_MANAGER = "line_manager"
    MANAGER_ABOVE = "manager_above"  # `levels` up the line: 1 is the line manager
    DEPARTMENT_HEAD = "department_head"  # the nearest named; `levels` departments further up
    ROLE = "role"
    PERSON = "person"
    COST_CENTRE_OWNER = "cost_centre_owner"  # where none is named: the department's head
    CHOSEN_BY_SUBMITTER = "chosen_by_submitter"
    OA_ROLE = "oa_role"  # a role that the OA names: `<tenant>:<role>` in the directory


class SubmitterIsApprover(StrEnum):
    """Who is asked where a rule finds the submitter alone."""

    SKIP = "skip"
    GO_UP = "go_up"
    DEPARTMENT_HEAD = "department_head"


class SameApprover(StrEnum):
    """Whether a person whom several steps find is asked once; then it is the last that asks."""

    NONE = "none"
    ALL = "all"
    CONSECUTIVE = "consecutive"


class Resubmit(StrEnum):
    """Where a document goes on that was returned to its submitter and handed in again."""

    FROM_START = "from_start"
    TO_REJECTOR = "to_rejector"


class PartsDisagree(ValueError):
    """Fields that are right each by itself do not fit together; `field` is the one to look at."""

    def __init__(self, field: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.field, self.zh, self.en = field, zh, en


def _condition(value: object) -> Condition:
    if isinstance(value, Condition):
        return value
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_CONDITION:
        zh = f"条件应为 CEL 表达式文本，1 到 {_MAX_CONDITION} 个字符"
        en = f"a condition is a CEL expression of 1 to {_MAX_CONDITION} characters"
        raise ConditionInvalid(Place(1, 1), zh, en)
    return compiled(value.rstrip())


When = Annotated[
    Condition,
    PlainValidator(_condition),
    PlainSerializer(lambda condition: condition.source, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": _MAX_CONDITION, "description": "CEL"}),
]
Hours = Annotated[Decimal, Field(gt=0, le=2000, decimal_places=2)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Candidates(_Part):
    """Whom the submitter may choose from; with neither, anyone who works here."""

    people: tuple[EmployeeId, ...] = Field((), max_length=200)
    roles: tuple[str, ...] = Field((), max_length=20)


# The fields that a rule needs, and those that it may have.
_FIELDS: dict[Rule, tuple[frozenset[str], frozenset[str]]] = {
    Rule.LINE_MANAGER: (frozenset(), frozenset()),
    Rule.MANAGER_ABOVE: (frozenset({"levels"}), frozenset()),
    Rule.DEPARTMENT_HEAD: (frozenset(), frozenset({"levels"})),
    Rule.ROLE: (frozenset({"role"}), frozenset()),
    Rule.PERSON: (frozenset({"person"}), frozenset()),
    Rule.COST_CENTRE_OWNER: (frozenset(), frozenset()),
    Rule.CHOSEN_BY_SUBMITTER: (frozenset(), frozenset({"candidates", "min", "max"})),
    Rule.OA_ROLE: (frozenset({"role"}), frozenset({"tenant"})),
}


class Approver(_Part):
    """One rule of a step, with the fields that this rule has and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    rule: Rule
    role: str | None = Field(None, min_length=1, max_length=64)
    levels: int | None = Field(None, ge=1, le=20)
    person: EmployeeId | None = Field(None, min_length=1, max_length=64)
    candidates: Candidates | None = Field(None, alias="from")
    min: int | None = Field(None, ge=1, le=_MOST_CHOSEN)
    max: int | None = Field(None, ge=1, le=_MOST_CHOSEN)
    tenant: TenantId | None = Field(None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _fields_belong_to_their_rule(self) -> Self:
        needed, possible = _FIELDS[self.rule]
        given = {name for name, value in self if value is not None} - {"rule"}
        for name in sorted(needed - given):
            zh, en = f"规则 {self.rule} 需要 {name}", f"rule {self.rule} needs {name}"
            raise PartsDisagree(name, zh, en)
        for name in sorted(given - needed - possible):
            zh, en = f"规则 {self.rule} 没有 {name}，请删除", f"rule {self.rule} has no {name}"
            raise PartsDisagree("from" if name == "candidates" else name, zh, en)
        if self.fewest > self.most:
            raise PartsDisagree("min", "min 大于 max", "min is over max")
        return self

    @property
    def fewest(self) -> int:
        """How many the submitter chooses at least."""
        return self.min or 1

    @property
    def most(self) -> int:
        """How many the submitter chooses at most."""
        return self.max or _MOST_CHOSEN

    def candidates_in(self, directory: Directory) -> tuple[EmployeeId, ...] | None:
        """Who may be chosen, of those who are here; None: anyone is."""
        if self.candidates is None:
            return None
        named = {*self.candidates.people}.union(*map(directory.holders, self.candidates.roles))
        return tuple(sorted(id_ for id_ in named if directory.is_here(id_)))


class Ratio(_Part):
    """A step is done when so many percent of those asked have agreed."""

    ratio: int = Field(ge=1, le=100)


class AfterHours(_Part):
    """What is decided by itself where no one has decided so many hours after being asked."""

    after: Hours
    decision: Literal[Decision.APPROVE, Decision.REJECT, Decision.RETURN]


class StepDeadline(_Part):
    """How long a step may take, in working hours from when it is asked."""

    hours: Hours
    remind: tuple[Hours, ...] = Field((), max_length=10)
    escalate: Hours | None = None
    decide: AfterHours | None = None

    @model_validator(mode="after")
    def _nothing_happens_before_it_is_due(self) -> Self:
        if self.escalate is not None and self.escalate < self.hours:
            raise PartsDisagree("escalate", "escalate 早于 hours", "escalates before it is due")
        if self.decide is not None and self.decide.after < self.hours:
            raise PartsDisagree("decide", "decide 早于 hours", "decides before it is due")
        return self


class Label(_Part):
    """What people call it."""

    zh: str = Field(min_length=1, max_length=100)
    en: str = Field(min_length=1, max_length=100)


class Step(_Part):
    """One step. `approver` asks one person; `approvers` asks everyone whom its rules find."""

    id: str | None = Field(None, pattern=r"^[a-z][a-z0-9-]{0,40}$")
    name: Annotated[str, Field(min_length=1, max_length=64)] | Label
    when: When | None = None
    approver: Approver | None = None
    approvers: tuple[Approver, ...] = Field((), max_length=20)
    completion: Literal[Completion.ONE, Completion.ALL, Completion.SEQUENCE] | Ratio = (
        Completion.ONE
    )
    deadline: StepDeadline | None = None

    @model_validator(mode="after")
    def _someone_is_asked(self) -> Self:
        if (self.approver is None) == (not self.approvers):
            zh = "approver（一人）与 approvers（全部）必须且只能填一个"
            en = "name approver, who asks one, or approvers, who asks all, and not both"
            raise PartsDisagree("approvers", zh, en)
        return self

    @cached_property
    def said(self) -> str:
        """Its name, for people."""
        return self.name if isinstance(self.name, str) else self.name.zh

    @cached_property
    def rules(self) -> tuple[Approver, ...]:
        return self.approvers or ((self.approver,) if self.approver is not None else ())


class Automatic(_Part):
    """When no person need be asked, and in how many percent of such cases one is all the same."""

    when: When
    audit_percent: int = Field(ge=0, le=100)


class Definition(_Part):
    """How documents of one kind are approved; a running approval keeps its version."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    version: int = Field(ge=1, le=1_000_000)
    name: Label
    kind: Literal[DocumentKind.CLAIM, DocumentKind.TRIP, DocumentKind.ADVANCE, DocumentKind.PAYMENT]
    mode: Literal[Mode.NATIVE, Mode.MIRRORED, Mode.DELEGATED]
    tenant: TenantId | None = Field(None, min_length=1, max_length=64)
    effective_from: date | None = None  # the first day, None: always
    effective_to: date | None = None  # the last day, None: for ever
    submitter_is_approver: SubmitterIsApprover = SubmitterIsApprover.GO_UP
    same_approver: SameApprover = SameApprover.NONE
    resubmit: Resubmit = Resubmit.FROM_START
    automatic: Automatic | None = None
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Self:
        if (self.mode is not Mode.NATIVE) != (self.tenant is not None):
            zh = "模式 mirrored 或 delegated 须填 tenant（哪个 OA），native 不填"
            en = "name the OA with mode mirrored or delegated, and only then"
            raise PartsDisagree("tenant", zh, en)
        if self.effective_from and self.effective_to and self.effective_to < self.effective_from:
            zh, en = "effective_to 早于 effective_from", "is before effective_from"
            raise PartsDisagree("effective_to", zh, en)
        ids = [id_ for id_, _ in self.named_steps]
        twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
        if twice is not None:
            raise PartsDisagree("steps", f"有两个步骤的 id 是 {twice}", f"two have the id {twice}")
        for rule in self.rules():
            if rule.rule is Rule.OA_ROLE and rule.tenant is None and self.tenant is None:
                zh, en = "规则 oa_role 须知道是哪个 OA", "rule oa_role needs to know the OA"
                raise PartsDisagree("tenant", zh, en)
        return self

    @cached_property
    def label(self) -> str:
        return f"{self.id}@{self.version}"

    def holds_on(self, day: date) -> bool:
        """Whether this day is between its first and its last."""
        first, last = self.effective_from or date.min, self.effective_to or date.max
        return first <= day <= last

    @cached_property
    def named_steps(self) -> tuple[tuple[str, Step], ...]:
        """The steps with their ids: where none is given, by number."""
        return tuple((step.id or f"step-{n}", step) for n, step in enumerate(self.steps, start=1))

    def rules(self) -> Iterator[Approver]:
        return (rule for step in self.steps for rule in step.rules)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition, so that a document is made readable to all of them at once."""
        found = [step.when for step in self.steps if step.when is not None]
        return (*found, self.automatic.when) if self.automatic is not None else tuple(found)

    def roles(self) -> set[str]:
        """The duties that its rules name."""
        named = {self.role_of(rule) for rule in self.rules() if rule.role is not None}
        return named.union(*(rule.candidates.roles for rule in self.rules() if rule.candidates))

    def people(self) -> set[EmployeeId]:
        """The persons that its rules name."""
        named = {rule.person for rule in self.rules() if rule.person is not None}
        return named.union(*(rule.candidates.people for rule in self.rules() if rule.candidates))

    def role_of(self, rule: Approver) -> str:
        """The role of a rule as the directory names it."""
        if rule.rule is Rule.OA_ROLE:
            return f"{rule.tenant or self.tenant}:{rule.role}"
        return str(rule.role)
