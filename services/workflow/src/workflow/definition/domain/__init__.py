"""Definitions as data, the conditions in them, and the route that comes of them. Pure."""

from workflow.definition.domain.approvers import (
    NoAdministrator,
    administrator,
    find_successor,
)
from workflow.definition.domain.condition import ConditionFailed, ConditionInvalid
from workflow.definition.domain.definition import (
    Definition,
    Resubmit,
    Rule,
    SameApprover,
    SubmitterIsApprover,
)
from workflow.definition.domain.document import (
    DefinitionChanged,
    DefinitionInvalid,
    Fault,
    Imported,
    parse_definition,
    storable,
    stored_definition,
    write_definition,
)
from workflow.definition.domain.names import Place
from workflow.definition.domain.planning import DRAWS, draw, plan
from workflow.definition.domain.route import (
    Deadline,
    Document,
    Found,
    PlannedStep,
    Reason,
    Route,
    stuck_steps,
)

__all__ = [
    "DRAWS",
    "ConditionFailed",
    "ConditionInvalid",
    "Deadline",
    "Definition",
    "DefinitionChanged",
    "DefinitionInvalid",
    "Document",
    "Fault",
    "Found",
    "Imported",
    "NoAdministrator",
    "Place",
    "PlannedStep",
    "Reason",
    "Resubmit",
    "Route",
    "Rule",
    "SameApprover",
    "SubmitterIsApprover",
    "administrator",
    "draw",
    "find_successor",
    "parse_definition",
    "plan",
    "storable",
    "stored_definition",
    "stuck_steps",
    "write_definition",
]
