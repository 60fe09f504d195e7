"""Keep definitions, and plan the routes of documents by those in force."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from chassis import Tx
from events import EmployeeId
from events.workflow import DocumentKind
from msgspec import Struct
from msgspec.structs import replace

from workflow.definition import store
from workflow.definition.domain import (
    DRAWS,
    Definition,
    DefinitionChanged,
    Document,
    Imported,
    NoAdministrator,
    Reason,
    Route,
    Rule,
    draw,
    plan,
    stuck_steps,
)
from workflow.directory.domain import Directory
from workflow.directory.handlers import directory_around
from workflow.standin.handlers import stand_ins

COMPANY = ZoneInfo("Asia/Shanghai")  # where a day begins, for the days of a definition


class NoDefinition(Exception):
    """No definition is in force for this kind of document on that day."""

    def __init__(self, kind: DocumentKind, day: date) -> None:
        super().__init__(f"no definition for {kind} is in force on {day}")
        self.kind, self.day = str(kind), str(day)


class SubmitterUnknown(Exception):
    """The directory has not caught up with whoever handed this in."""

    def __init__(self, employee_id: EmployeeId) -> None:
        super().__init__(f"the directory does not know {employee_id} yet")
        self.employee_id = str(employee_id)


class Plan(Struct, frozen=True):
    """The route of one document and the definition that it follows."""

    definition: Definition
    route: Route


async def import_definitions(
    tx: Tx, definitions: Sequence[Definition], by: str | None = None
) -> None:
    """Keep each version; the same one again is nothing. The highest in its days is in force.

    `by`: who brings them; None: they stand in the folder at start.

    Raises:
        DefinitionChanged: another content under a known id and version, or a second id of a kind.
    """
    await store.lock_definitions(tx)
    for definition in definitions:
        id_ = await store.id_of(tx, definition.kind)
        if id_ is not None and id_ != definition.id:
            raise DefinitionChanged(
                f"{definition.label}：{definition.kind} 类单据一律按 {id_} 审批；"
                "请沿用该 id 并提高版本号",
                f"{definition.label}: every {definition.kind} is approved by {id_};"
                " keep that id and raise its version",
            )
        known = await store.definition(tx, definition.id, definition.version)
        if known is None:
            await store.add_definition(tx, definition, by)
        elif known != definition:
            raise DefinitionChanged(
                f"{definition.label} 已存在且内容不同；修改请提高版本号",
                f"{definition.label}: raise its version to change it",
            )


async def versions(tx: Tx, id_: str | None = None) -> list[Imported]:
    """Every version of this definition, or of all, the highest of each first."""
    return await store.versions(tx, id_)


async def plan_routes(tx: Tx, documents: Sequence[Document]) -> list[Plan]:
    """The plan of each document, in the same order; three queries, however many they are.

    Raises:
        NoDefinition, SubmitterUnknown: what a plan is made of has not arrived yet.
        NoAdministrator: a step has no approver, and there is no administrator to take it.
    """
    definitions = await definitions_of(tx, documents)
    directory = await directory_of(tx, documents, definitions)
    drawn = any(definition.automatic is not None for definition in definitions)
    secret = await store.audit_secret(tx) if drawn else ""
    return [
        Plan(definition, _planned(definition, document, directory, secret))
        for definition, document in zip(definitions, documents, strict=True)
    ]


def _planned(
    definition: Definition, document: Document, directory: Directory, secret: str
) -> Route:
    submitter = directory.people.get(document.submitter_id)
    if submitter is None:
        raise SubmitterUnknown(document.submitter_id)
    lot = 0
    if definition.automatic is not None:
        lot = draw(secret, document.document_id, definition.label)
    return plan(definition, document, submitter, directory, lot)


async def definitions_of(tx: Tx, documents: Collection[Document]) -> list[Definition]:
    """The definition in force for each on the day it was handed in.

    Raises:
        NoDefinition: there is none for one of them.
    """
    asked = [(document.kind, day_of(document.handed_in_at)) for document in documents]
    distinct = set(asked)
    in_force = await store.definitions_in_force(tx, distinct)
    for kind, day in distinct - in_force.keys():
        raise NoDefinition(kind, day)
    return [in_force[one] for one in asked]


async def directory_of(
    tx: Tx, documents: Sequence[Document], definitions: Sequence[Definition]
) -> Directory:
    """The part of the company that the routes of these documents can touch."""
    distinct = {definition.label: definition for definition in definitions}.values()
    people = {document.submitter_id for document in documents}
    for document in documents:
        for ids in document.chosen.values():
            people.update(ids)
    for one in distinct:
        people |= one.people()
    roles = {role for one in distinct for role in one.roles()}
    centres = {document.cost_centre for document in documents if document.cost_centre is not None}
    return await directory_around(tx, people, roles, centres)


def day_of(at: datetime) -> date:
    return at.astimezone(COMPANY).date()


class Choice(Struct, frozen=True):
    """A step for which the submitter chooses. `candidates` None: anyone who works here."""

    step_id: str
    name: str
    fewest: int
    most: int
    candidates: tuple[EmployeeId, ...] | None


async def choices(tx: Tx, kind: DocumentKind, day: date) -> list[Choice]:
    """What the submitter of such a document must choose, by the definition in force that day.

    Raises:
        NoDefinition: there is none.
    """
    found = (await store.definitions_in_force(tx, [(kind, day)])).get((kind, day))
    if found is None:
        raise NoDefinition(kind, day)
    directory = await directory_around(tx, found.people(), found.roles())
    return [
        Choice(id_, step.said, rule.fewest, rule.most, rule.candidates_in(directory))
        for id_, step in found.named_steps
        for rule in step.rules
        if rule.rule is Rule.CHOSEN_BY_SUBMITTER
    ]


class Simulation(Struct, frozen=True):
    """What would happen to a document: its route, who stands in for whom, where it gets stuck.

    `definition` None: none is in force that day. `route` None: none can be planned at all.
    """

    definition: Definition | None
    route: Route | None
    stand_ins: Mapping[EmployeeId, EmployeeId]
    stuck: tuple[Reason, ...]


async def simulate(tx: Tx, id_: str, version: int | None, document: Document) -> Simulation | None:
    """Plan a document by this definition, and change nothing. None: there is no such definition.

    `version` None: the one in force on the day. The lot is taken to be one that is not audited.
    """
    versions = [one.definition for one in await store.versions(tx, id_)]
    day = day_of(document.handed_in_at)
    found = in_force(versions, day) if version is None else _version(versions, version)
    if found is None and (version is not None or not versions):
        return None
    if found is None:
        zh, en = f"{day} 没有生效的版本", f"no version of it is in force on {day}"
        return Simulation(None, None, {}, (Reason(id_, None, zh, en),))
    document = replace(document, kind=found.kind)
    directory = await directory_of(tx, [document], [found])
    submitter = directory.people.get(document.submitter_id)
    if submitter is None:
        zh, en = "组织架构中没有提交人", "the directory does not know the submitter"
        return Simulation(found, None, {}, (Reason("submitter", None, zh, en),))
    try:
        route = plan(found, document, submitter, directory, DRAWS - 1)
    except NoAdministrator as error:
        zh, en = f"需要管理员，但没有人担任：{error}", f"no one is an administrator: {error}"
        return Simulation(found, None, {}, (Reason("administrator", None, zh, en),))
    asked = {one.approver_id for step in route.steps for one in step.found}
    away = await stand_ins(tx, asked, found.kind, document.handed_in_at)
    away = {person: one for person, one in away.items() if one != document.submitter_id}
    return Simulation(found, route, away, stuck_steps(route))


def in_force(versions: Sequence[Definition], day: date) -> Definition | None:
    """The highest version whose window holds the day; `versions` come highest first."""
    return next((one for one in versions if one.holds_on(day)), None)


def _version(versions: Sequence[Definition], version: int) -> Definition | None:
    return next((one for one in versions if one.version == version), None)
