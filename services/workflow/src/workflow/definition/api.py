"""Definitions over HTTP: read, export, import, and try on a document."""

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Annotated

from chassis.auth import Me, needs
from chassis.http import Db
from chassis.problem import NOT_FOUND, Problem, Refusal, Text, language_of, respond
from events import DocumentId, EmployeeId, Money
from events.claims import ChosenApprovers, ExpenseLine, Violation
from events.workflow import DocumentKind
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from workflow.definition import handlers
from workflow.definition.domain import (
    Definition,
    DefinitionChanged,
    DefinitionInvalid,
    Document,
    Fault,
    Imported,
    Place,
    PlannedStep,
    parse_definition,
    write_definition,
)
from workflow.definition.handlers import COMPANY, NoDefinition, Simulation

REFUSALS: dict[type[Exception], Refusal] = {
    DefinitionChanged: Refusal(409, "definition-changed", Text("{zh}。", "{en}.")),
    NoDefinition: Refusal(
        404,
        "no-definition",
        Text(
            "{day} 没有对 {kind} 生效的审批定义，请联系管理员。",
            "No definition for {kind} is in force on {day}: ask an administrator.",
        ),
    ),
}
_INVALID = Refusal(
    422,
    "definition-invalid",
    Text("审批定义有 {count} 处不符合要求，见 errors。", "{count} faults, see errors."),
)
_OTHER_ID = Fault(
    "/id", Place(1, 1), "id 与网址中的不一致，请改成一致", "is not the id in the address: use one"
)
_NOT_UTF8 = Fault("/", Place(1, 1), "不是 UTF-8 文本，请存为 UTF-8", "not UTF-8; save it as UTF-8")
_YAML = "application/yaml"
_BODY = {"requestBody": {"required": True, "content": {_YAML: {}, "application/json": {}}}}
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]
router = APIRouter()


class DefinitionItem(BaseModel):
    """One version of a definition, without its steps."""

    id: str
    version: int
    name: dict[str, str]
    kind: str
    mode: str
    tenant: str | None
    effective_from: date | None
    effective_to: date | None
    in_force: bool = Field(description="whether documents handed in today follow it")
    imported_at: datetime
    imported_by: str | None = Field(description="null: it stood in the folder at start")


class DefinitionList(BaseModel):
    """Every version of every definition, the highest of each first."""

    items: list[DefinitionItem]


@router.get("/api/definitions", dependencies=[needs("admin", "auditor")])
async def definitions(database: Db) -> DefinitionList:
    """Which definitions there are, and which of their versions are in force today."""
    async with database.transaction() as tx:
        found = await handlers.versions(tx)
    today = handlers.day_of(tx.now)
    return DefinitionList(items=[_item(one, found, today) for one in found])


def _item(one: Imported, among: Sequence[Imported], today: date) -> DefinitionItem:
    versions = [other.definition for other in among if other.definition.id == one.definition.id]
    return DefinitionItem(
        **one.definition.model_dump(include=set(DefinitionItem.model_fields)),
        in_force=handlers.in_force(versions, today) == one.definition,
        imported_at=one.at,
        imported_by=one.by,
    )


class ChoiceItem(BaseModel):
    """A step for which the submitter chooses who decides."""

    model_config = ConfigDict(from_attributes=True)

    step_id: str
    name: str
    fewest: int
    most: int
    candidates: list[EmployeeId] | None = Field(description="null: anyone who works here")


class ChoiceList(BaseModel):
    """What a submitter must choose; mostly nothing."""

    items: list[ChoiceItem]


@router.get("/api/approver-choices")
async def choices(database: Db, kind: DocumentKind) -> ChoiceList:
    """What I must choose when I hand in a document of this kind today, and from whom."""
    async with database.transaction() as tx:
        found = await handlers.choices(tx, kind, handlers.day_of(tx.now))
    return ChoiceList(items=[ChoiceItem.model_validate(one) for one in found])


@router.get(
    "/api/definitions/{id_}",
    dependencies=[needs("admin", "auditor")],
    responses={200: {"content": {_YAML: {}, "application/json": {}}}},
)
async def definition(id_: Id, request: Request, database: Db, version: Version = None) -> Response:
    """One version whole: this one, or the one in force today, or else the highest.

    As YAML where `Accept: application/yaml` asks for it; to import that again changes nothing.
    """
    async with database.transaction() as tx:
        versions = [one.definition for one in await handlers.versions(tx, id_)]
    wanted = [one for one in versions if version in {None, one.version}]
    if not wanted:
        raise Problem(NOT_FOUND)
    found = handlers.in_force(wanted, handlers.day_of(tx.now)) or wanted[0]
    if "yaml" in request.headers.get("accept", ""):
        return Response(write_definition(found), media_type=_YAML)
    return _as_json(found)


@router.put("/api/definitions/{id_}", dependencies=[needs("admin")], openapi_extra=_BODY)
async def import_definition(id_: Id, request: Request, me: Me, database: Db) -> Response:
    """Import one version, in YAML or JSON. The same again changes nothing.

    A version that is known never changes: a running approval keeps what it began with.
    """
    try:
        new = _read(await request.body(), id_)
    except DefinitionInvalid as error:
        return _refused(request, error)
    async with database.transaction() as tx:
        await handlers.import_definitions(tx, [new], me.subject)
    return _as_json(new)


def _read(body: bytes, id_: str) -> Definition:
    try:
        new = parse_definition(body.decode())
    except UnicodeDecodeError as error:
        raise DefinitionInvalid.by(_NOT_UTF8) from error
    if new.id != id_:
        raise DefinitionInvalid.by(_OTHER_ID)
    return new


def _refused(request: Request, error: DefinitionInvalid) -> Response:
    language = language_of(request)
    errors = [
        {
            "field": one.field,
            "line": one.place.line,
            "column": one.place.column,
            "detail": one.en if language == "en" else one.zh,
        }
        for one in error.faults
    ]
    return respond(request, Problem(_INVALID, count=len(errors)), errors=errors)


def _as_json(found: Definition) -> Response:
    content = found.model_dump_json(by_alias=True, exclude_none=True)
    return Response(content, media_type="application/json")


class SimulateRequest(BaseModel):
    """A document that might be handed in; only who hands it in and the total are needed."""

    model_config = ConfigDict(extra="forbid")

    submitter_id: EmployeeId = Field(min_length=1, max_length=64)
    total: Money
    title: str = Field("", max_length=200)
    lines: tuple[ExpenseLine, ...] = Field((), max_length=200)
    violations: tuple[Violation, ...] = Field((), max_length=1000)
    cost_centre: str | None = Field(None, min_length=1, max_length=64)
    chosen_approvers: tuple[ChosenApprovers, ...] = Field((), max_length=20)
    version: int | None = Field(None, ge=1, le=1_000_000, description="else the one in force")
    on: date | None = Field(None, description="the day it is handed in; else now")

    def document(self, now: datetime) -> Document:
        """As the planner sees it; its kind is the definition's."""
        noon = datetime.combine(self.on, time(12), COMPANY) if self.on is not None else now
        return Document(
            document_id=DocumentId("simulated"),
            revision=1,
            kind=DocumentKind.UNKNOWN,
            submitter_id=self.submitter_id,
            title=self.title,
            total=self.total,
            content_hash="0" * 64,
            handed_in_at=noon,
            lines=self.lines,
            violations=self.violations,
            cost_centre=self.cost_centre,
            chosen={one.step: one.approvers for one in self.chosen_approvers},
        )


class Asked(BaseModel):
    """One person of a step: by which rule, and who decides instead while that person is away."""

    approver_id: EmployeeId
    rule: str
    by_administrator: bool
    stand_in_id: EmployeeId | None


class SimulatedStep(BaseModel):
    """One step that would be asked, in the order of the route."""

    step: int
    id: str
    name: str
    asked: list[Asked]
    completion: str
    ratio: int | None
    due_hours: str | None = Field(description="working hours from when it is asked")


class Why(BaseModel):
    """One line of the trace; `step` null: not in the route."""

    model_config = ConfigDict(from_attributes=True)

    step_id: str
    step: int | None
    zh: str
    en: str


class SimulateAnswer(BaseModel):
    """Who would be asked, in which order and why, and where it would get stuck."""

    definition: str | None
    automatic: str | None = Field(description="the rule by which no person need be asked")
    audit_percent: int | None = Field(description="the share of these that a person sees anyway")
    steps: list[SimulatedStep]
    reasons: list[Why]
    stuck: list[Why]


@router.post("/api/definitions/{id_}/simulate", dependencies=[needs("admin")])
async def simulate(id_: Id, asked: SimulateRequest, database: Db) -> SimulateAnswer:
    """What this definition would make of a document. Nothing is kept and no one is asked."""
    async with database.transaction() as tx:
        found = await handlers.simulate(tx, id_, asked.version, asked.document(tx.now))
    if found is None:
        raise Problem(NOT_FOUND)
    return _answer(found)


def _answer(found: Simulation) -> SimulateAnswer:
    definition, route = found.definition, found.route
    automatic = definition.automatic if definition is not None else None
    return SimulateAnswer(
        definition=definition.label if definition is not None else None,
        automatic=route.automatic if route is not None else None,
        audit_percent=automatic.audit_percent if automatic is not None else None,
        steps=[_step(step, found) for step in route.steps] if route is not None else [],
        reasons=[Why.model_validate(one) for one in route.reasons] if route is not None else [],
        stuck=[Why.model_validate(one) for one in found.stuck],
    )


def _step(step: PlannedStep, found: Simulation) -> SimulatedStep:
    return SimulatedStep(
        step=step.step,
        id=step.id,
        name=step.name,
        asked=[
            Asked(
                approver_id=one.approver_id,
                rule=one.rule,
                by_administrator=one.by_administrator,
                stand_in_id=found.stand_ins.get(one.approver_id),
            )
            for one in step.found
        ],
        completion=step.completion.value,
        ratio=step.ratio,
        due_hours=str(step.deadline.hours) if step.deadline is not None else None,
    )
