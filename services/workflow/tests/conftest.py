"""A migrated database with a small company in it, and the events that move an approval."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from chassis import Database, Received
from chassis.http import Edge
from chassis.testing import Issuer, api_client, database_fixture
from events import ClaimId, DepartmentId, EmployeeId, Envelope, Event, EventId, Money
from events.claims import ClaimSubmitted, ExpenseLine
from events.directory import (
    DepartmentStatus,
    DepartmentUpdated,
    EmployeeUpdated,
    EmploymentStatus,
)
from uuid_utils.compat import uuid7
from workflow.api import REFUSALS, ROUTERS
from workflow.approval import handlers
from workflow.definition.domain import Definition
from workflow.definition.handlers import import_definitions
from workflow.directory.handlers import on_departments

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)

template, bare_database = database_fixture("workflow", Path(__file__).parents[1] / "migrations")


def employee(id_: str, manager: str | None, *roles: str, **changed: Any) -> EmployeeUpdated:
    person = EmployeeUpdated(
        employee_id=EmployeeId(id_),
        name="某",
        department_id=DepartmentId("D110"),
        manager_id=EmployeeId(manager) if manager else None,
        roles=roles,
        status=EmploymentStatus.ACTIVE,
        updated_at=NOW,
    )
    return person.model_copy(update=changed)


# lin and wei report to wang, and wang to chen, who is at the top.
COMPANY = (
    employee("lin", "wang"),
    employee("wei", "wang"),
    employee("wang", "chen"),
    employee("zhao", "chen", "finance"),
    employee("chen", None),
    employee("ada", "chen", "admin"),
)


def department(id_: str, parent: str | None, head: str | None, **changed: Any) -> DepartmentUpdated:
    found = DepartmentUpdated(
        department_id=DepartmentId(id_),
        name="部门",
        parent_id=DepartmentId(parent) if parent else None,
        head_id=EmployeeId(head) if head else None,
        status=DepartmentStatus.ACTIVE,
        updated_at=NOW,
    )
    return found.model_copy(update=changed)


def received(events: Sequence[Event]) -> list[Received[Any]]:
    envelopes = [
        Envelope(
            id=EventId(UUID(str(uuid7()))),
            time=NOW,
            sequence=1,
            correlation_id=event.key,
            event=event,
        )
        for event in events
    ]
    return [Received(one.event.TOPIC.name, 0, offset, one) for offset, one in enumerate(envelopes)]


@pytest.fixture(name="received", scope="session")
def as_received() -> Callable[..., list[Received[Any]]]:
    """Events as they come from their topic."""
    return received


@pytest.fixture(name="employee", scope="session")
def an_employee() -> Callable[..., EmployeeUpdated]:
    """One person: id, manager, roles."""
    return employee


@pytest.fixture(name="department", scope="session")
def a_department() -> Callable[..., DepartmentUpdated]:
    """One department: id, parent, head."""
    return department


RULES = {"line_manager", "department_head"}


@pytest.fixture(scope="session")
def definition() -> Callable[..., Definition]:
    """Line manager, then finance, in our inbox, unless told otherwise.

    A step is a rule, a role, or a whole step; `tenant`: decided in that OA, or `mode` there.
    """

    def step(number: int, rule: Any) -> dict[str, Any]:
        if isinstance(rule, dict):
            return {"name": f"step {number}", **rule}
        approver = {"rule": rule} if rule in RULES else {"rule": "role", "role": rule}
        return {"name": f"step {number}", "approver": approver}

    def make(
        *rules: Any, version: int = 1, tenant: str | None = None, **settings: Any
    ) -> Definition:
        steps = rules or ("line_manager", "finance")
        return Definition.model_validate(
            {
                "id": "travel-claim",
                "version": version,
                "name": {"zh": "差旅报销", "en": "Travel claim"},
                "kind": "claim",
                "mode": "delegated" if tenant else "native",
                "tenant": tenant,
                "steps": [step(n, one) for n, one in enumerate(steps, start=1)],
                **settings,
            }
        )

    return make


@pytest.fixture(scope="session")
def claim() -> Callable[..., ClaimSubmitted]:
    """A claim of lin's, as it is handed in."""

    def make(id_: str = "c-1", **changed: Any) -> ClaimSubmitted:
        cost = Money(amount=Decimal("120.50"), currency="CNY")
        line = ExpenseLine(line_no=1, category="meal", spent_on=date(2026, 11, 20), amount=cost)
        handed_in = ClaimSubmitted(
            claim_id=ClaimId(id_),
            revision=1,
            employee_id=EmployeeId("lin"),
            title="上海客户现场",
            lines=(line,),
            total=cost,
            content_hash="ab" * 32,
            submitted_at=NOW,
        )
        return handed_in.model_copy(update=changed)

    return make


Do = Callable[..., Awaitable[Sequence[Event]]]


@pytest.fixture
def do(bare_database: Database) -> Do:
    """Call a handler in a transaction of its own; answers what it emitted."""

    async def call(handler: Callable[..., Awaitable[Any]], *given: Any) -> Sequence[Event]:
        async with bare_database.transaction() as tx:
            await handler(tx, *given)
            return tx.emitted

    return call


@pytest.fixture
def hire(do: Do) -> Do:
    """Bring news of people."""

    async def tell(*people: EmployeeUpdated) -> Sequence[Event]:
        return await do(handlers.on_employees, received(people))

    return tell


@pytest.fixture
async def database(
    bare_database: Database, hire: Do, do: Do, orphans: Callable[[], Awaitable[list[str]]]
) -> AsyncIterator[Database]:
    await hire(*COMPANY)
    tree = [department("D100", None, "chen"), department("D110", "D100", "wang")]
    await do(on_departments, received(tree))
    yield bare_database
    assert not await orphans()  # no foreign key sees to it


@pytest.fixture
def orphans(bare_database: Database) -> Callable[[], Awaitable[list[str]]]:
    """Tasks without their approval, which must not be."""

    async def found() -> list[str]:
        rows = await bare_database.pool.fetch(
            "SELECT task_id FROM task LEFT JOIN approval a USING (document_id, revision)"
            " WHERE a.document_id IS NULL"
        )
        return [row["task_id"] for row in rows]

    return found


@pytest.fixture
def hand_in(database: Database, do: Do) -> Do:
    """Hand documents in or withdraw them, as one batch of their topic."""

    async def bring(*events: Event) -> Sequence[Event]:
        return await do(handlers.on_claims, received(events))

    return bring


@pytest.fixture
async def submitted(database: Database, do: Do, hand_in: Do, definition, claim) -> Do:
    """Hand a claim in, approved by these rules."""

    async def make(
        *rules: Any, of: ClaimSubmitted | None = None, **settings: Any
    ) -> Sequence[Event]:
        await do(import_definitions, [definition(*rules, **settings)])
        return await hand_in(of or claim())

    return make


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(database: Database, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    async with api_client(Edge("workflow", database, verifier, ROUTERS, REFUSALS)) as client:
        client.headers["accept-language"] = "en"
        yield client
    await verifier.close()
