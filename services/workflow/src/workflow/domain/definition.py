"""Approval definitions: how documents of one kind are approved, written as YAML by a company."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import yaml
from events import TenantId
from events.workflow import DocumentKind, Mode
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

ADMIN = "admin"  # the role of the people who sort out what has no approver
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
_WAYS_OUT = {
    "missing": "add it",
    "extra_forbidden": "no such field: remove it or correct its spelling",
}


class DefinitionInvalid(ValueError):
    """A definition breaks a rule; the message names the file, each field and the way out."""


class Rule(StrEnum):
    """How the approver of a step is found."""

    LINE_MANAGER = "line_manager"
    DEPARTMENT_HEAD = "department_head"
    ROLE = "role"


class Approver(BaseModel):
    """The rule of a step; `role` names the duty where the rule is `role`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    role: Name | None = None

    @model_validator(mode="after")
    def _role_belongs_to_its_rule(self) -> Self:
        if (self.rule is Rule.ROLE) != (self.role is not None):
            raise ValueError("name a role with the rule `role`, and only then")
        return self


class Step(BaseModel):
    """One step of a definition; the name is what approvers read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    approver: Approver


class Title(BaseModel):
    """The name of a definition in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zh: Name
    en: Name


class Definition(BaseModel):
    """How documents of one kind are approved. A version never changes; a new one follows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    version: int = Field(ge=1)
    name: Title
    kind: Literal[DocumentKind.CLAIM]
    mode: Literal[Mode.NATIVE, Mode.DELEGATED]
    tenant: TenantId | None = Field(None, min_length=1, max_length=64)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _tenant_belongs_to_delegated(self) -> Self:
        if (self.mode is Mode.DELEGATED) != (self.tenant is not None):
            raise ValueError("name the OA as `tenant` with mode `delegated`, and only then")
        return self

    @property
    def label(self) -> str:
        """Id and version, as in `travel-claim@1`."""
        return f"{self.id}@{self.version}"

    @property
    def roles(self) -> set[str]:
        """The duties that its steps name."""
        return {step.approver.role for step in self.steps if step.approver.role is not None}


def parse_definition(file: str, text: str) -> Definition:
    """The definition in a YAML text; `file` is its name, for the message.

    Raises:
        DefinitionInvalid: not YAML, or a rule is broken.
    """
    try:
        return Definition.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DefinitionInvalid(f"{file}: not YAML, correct it: {error}") from error
    except ValidationError as error:
        broken = "; ".join(_field_error(one) for one in error.errors(include_url=False))
        raise DefinitionInvalid(f"{file}: {broken}") from error


def check_one_per_kind(definitions: dict[str, Definition]) -> None:
    """A kind of document has one definition in force.

    Raises:
        DefinitionInvalid: none at all, or two files for one kind.
    """
    files: dict[DocumentKind, str] = {}
    for file, definition in definitions.items():
        if definition.kind in files:
            other = files[definition.kind]
            raise DefinitionInvalid(
                f"{file}: kind: {other} is for {definition.kind.value!r} too; keep one of them"
            )
        files[definition.kind] = file
    if not files:
        raise DefinitionInvalid("no *.yaml in the folder of definitions: put one there")


def _field_error(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"]) or "definition"
    said = error["msg"].removeprefix("Value error, ")
    return f"{field}: {_WAYS_OUT.get(error['type'], said)}"
