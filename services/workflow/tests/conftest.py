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
from events import ClaimId, DepartmentId, EmployeeId, Envelope, Event, EventId, Money, TenantId
from events.claims import ClaimSubmitted, ExpenseLine
from events.directory import (
    DepartmentStatus,
    DepartmentUpdated,
    EmployeeUpdated,
    EmploymentStatus,
)
from events.workflow import DocumentKind, Mode
from uuid_utils.compat import uuid7
from workflow import handlers
from workflow.api import REFUSALS, router
from workflow.domain import Approver, Definition, Label, Rule, Step

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


@pytest.fixture(name="employee", scope="session")
def an_employee() -> Callable[..., EmployeeUpdated]:
    """One person: id, manager, roles."""
    return employee


@pytest.fixture(name="department", scope="session")
def a_department() -> Callable[..., DepartmentUpdated]:
    """One department: id, parent, head."""
    return department


@pytest.fixture(scope="session")
def definition() -> Callable[..., Definition]:
    """Line manager, then finance, in our inbox, unless told otherwise; `tenant`: in that OA."""

    def make(*rules: str, version: int = 1, tenant: str | None = None) -> Definition:
        approvers = [
            Approver(rule=Rule(rule)) if rule in set(Rule) else Approver(rule=Rule.ROLE, role=rule)
            for rule in rules or ("line_manager", "finance")
        ]
        return Definition(
            id="travel-claim",
            version=version,
            name=Label(zh="差旅报销", en="Travel claim"),
            kind=DocumentKind.CLAIM,
            mode=Mode.DELEGATED if tenant else Mode.NATIVE,
            tenant=TenantId(tenant) if tenant else None,
            steps=tuple(
                Step(name=f"step {n}", approver=one) for n, one in enumerate(approvers, start=1)
            ),
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
async def database(bare_database: Database, hire: Do, do: Do) -> Database:
    await hire(*COMPANY)
    tree = [department("D100", None, "chen"), department("D110", "D100", "wang")]
    await do(handlers.on_departments, received(tree))
    return bare_database


@pytest.fixture
async def submitted(database: Database, do: Do, definition, claim) -> Do:
    """Hand a claim in, approved by these rules."""

    async def hand_in(
        *rules: str, tenant: str | None = None, of: ClaimSubmitted | None = None
    ) -> Sequence[Event]:
        await do(handlers.import_definitions, [definition(*rules, tenant=tenant)])
        return await do(handlers.on_claim_submitted, of or claim())

    return hand_in


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(database: Database, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    async with api_client(Edge("workflow", database, verifier, [router], REFUSALS)) as client:
        client.headers["accept-language"] = "en"
        yield client
    await verifier.close()
