"""How documents of one kind are approved: steps as data, written by the company."""

from enum import StrEnum
from typing import Literal, Self

import yaml
from events import TenantId
from events.workflow import DocumentKind, Mode
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Rule(StrEnum):
    """How the approver of a step is found."""

    LINE_MANAGER = "line_manager"
    DEPARTMENT_HEAD = "department_head"
    ROLE = "role"


class Approver(BaseModel):
    """The rule of a step; `role` names the duty where the rule is `role`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    role: str | None = Field(None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _role_belongs_to_its_rule(self) -> Self:
        if (self.rule is Rule.ROLE) != (self.role is not None):
            raise ValueError("role: name one with rule `role`, and only then")
        return self


class Step(BaseModel):
    """One step of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    approver: Approver


class Label(BaseModel):
    """What people call it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zh: str = Field(min_length=1, max_length=100)
    en: str = Field(min_length=1, max_length=100)


class Definition(BaseModel):
    """How documents of one kind are approved; a running approval keeps its version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    version: int = Field(ge=1, le=1_000_000)
    name: Label
    kind: Literal[DocumentKind.CLAIM]
    mode: Literal[Mode.NATIVE, Mode.DELEGATED]
    tenant: TenantId | None = Field(None, min_length=1, max_length=64)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _tenant_belongs_to_delegated(self) -> Self:
        if (self.mode is Mode.DELEGATED) != (self.tenant is not None):
            raise ValueError("tenant: name the OA with mode `delegated`, and only then")
        return self

    @property
    def label(self) -> str:
        return f"{self.id}@{self.version}"

    @property
    def roles(self) -> list[str]:
        """The duties that its steps name."""
        return [step.approver.role for step in self.steps if step.approver.role is not None]


class DefinitionInvalid(ValueError):
    """A definition breaks a rule; the message names each field and its rule."""


class DefinitionChanged(ValueError):
    """A definition contradicts one that was imported before it."""


def parse_definition(text: str) -> Definition:
    """Read one definition, written in YAML.

    Raises:
        DefinitionInvalid: it breaks a rule.
    """
    try:
        return Definition.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DefinitionInvalid(f"not YAML: {error}") from error
    except ValidationError as error:
        said = (
            f"{'.'.join(map(str, one['loc'])) or 'definition'}: {one['msg']}"
            for one in error.errors()
        )
        raise DefinitionInvalid("; ".join(said)) from error
