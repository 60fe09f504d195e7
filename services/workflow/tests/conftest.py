"""A migrated database per test, a company, claims, and an event's way to its handlers."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from chassis import Database, Received, Subscription
from chassis.http import Edge
from chassis.testing import Issuer, api_client, database_fixture
from events import Envelope, Event, EventId, Money
from events.claims import ClaimSubmitted, ClaimWithdrawn, ExpenseLine
from events.directory import DepartmentUpdated, EmployeeUpdated
from events.oa import OADecisionReceived
from uuid_utils.compat import uuid7
from workflow import handlers
from workflow.api import REFUSALS, router
from workflow.consumer import SUBSCRIPTIONS
from workflow.domain.definition import Definition

template, bare_database = database_fixture("workflow", Path(__file__).parents[1] / "migrations")

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
CONTENT_HASH = "a1" * 32
# Lin works for Wang, Wang for Chen; He does finance, Sun and Luo are administrators.
PEOPLE = {
    "chen": ("D1", None, ()),
    "wang": ("D2", "chen", ()),
    "lin": ("D2", "wang", ()),
    "he": ("D3", "chen", ("finance",)),
    "luo": ("D3", "chen", ("admin",)),
    "sun": ("D3", "chen", ("admin",)),
}
DEPARTMENTS = {"D1": (None, "chen"), "D2": ("D1", "wang"), "D3": ("D1", "sun")}


class Say:
    """Definitions and events, told with as few words as a test needs."""

    CONTENT_HASH = CONTENT_HASH

    @staticmethod
    def definition(mode: str = "native", version: int = 1, **changes: Any) -> Definition:
        fields = {
            "id": "travel-claim",
            "version": version,
            "name": {"zh": "差旅报销", "en": "Travel claim"},
            "kind": "claim",
            "mode": mode,
            "tenant": "flowable" if mode == "delegated" else None,
            "steps": [
                {"name": "直属上级", "approver": {"rule": "line_manager"}},
                {"name": "财务", "approver": {"rule": "role", "role": "finance"}},
            ],
        }
        return Definition.model_validate({**fields, **changes})

    @staticmethod
    def employee(id_: str, **changes: Any) -> EmployeeUpdated:
        department, manager, roles = PEOPLE.get(id_, ("D2", "wang", ()))
        fields = {
            "employee_id": id_,
            "name": id_.title(),
            "department_id": department,
            "manager_id": manager,
            "roles": roles,
            "status": "active",
            "updated_at": NOW,
        }
        return EmployeeUpdated(**{**fields, **changes})

    @staticmethod
    def department(id_: str, **changes: Any) -> DepartmentUpdated:
        parent, head = DEPARTMENTS.get(id_, (None, None))
        fields = {
            "department_id": id_,
            "name": id_,
            "parent_id": parent,
            "head_id": head,
            "status": "active",
            "updated_at": NOW,
        }
        return DepartmentUpdated(**{**fields, **changes})

    @staticmethod
    def submitted(claim: str = "C1", revision: int = 1, **changes: Any) -> ClaimSubmitted:
        money = Money(amount=Decimal("1488.00"), currency="CNY")
        line = ExpenseLine(line_no=1, category="hotel", spent_on=date(2026, 11, 20), amount=money)
        fields = {
            "claim_id": claim,
            "revision": revision,
            "employee_id": "lin",
            "title": "上海客户现场实施",
            "lines": (line,),
            "total": money,
            "content_hash": CONTENT_HASH,
            "submitted_at": NOW,
        }
        return ClaimSubmitted(**{**fields, **changes})

    @staticmethod
    def withdrawn(claim: str = "C1", revision: int = 1) -> ClaimWithdrawn:
        return ClaimWithdrawn(
            claim_id=claim, revision=revision, employee_id="lin", withdrawn_at=NOW
        )  # fmt: skip

    @staticmethod
    def oa_decision(step: int = 1, by: str = "wang", **changes: Any) -> OADecisionReceived:
        fields = {
            "document_id": "C1",
            "revision": 1,
            "tenant": "flowable",
            "instance_id": "P1",
            "step": step,
            "decision": "approve",
            "decided_by": by,
            "content_hash": CONTENT_HASH,
            "decided_at": NOW,
        }
        return OADecisionReceived(**{**fields, **changes})


class Road:
    """Hands events to the handlers that subscribe, as one batch of one partition."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def take(self, *events: Event) -> tuple[Event, ...]:
        """Each batch is one transaction; what it emitted comes back."""
        received = [
            Received(e.TOPIC.name, 0, n, Envelope(EventId(uuid7()), NOW, n + 1, e.key, e))
            for n, e in enumerate(events)
        ]
        async with self.database.transaction() as tx:
            for line in SUBSCRIPTIONS:
                await self._give(
                    tx, line, [one for one in received if type(one.event) in line.events]
                )
            return tx.emitted

    async def _give(self, tx: Any, line: Subscription, mine: list[Received[Any]]) -> None:
        if line.batch and mine:
            await line.handler(tx, mine)
        for one in () if line.batch else mine:
            with tx.caused_by(one.origin):
                await line.handler(tx, one.event)

    async def use(self, *definitions: Definition) -> None:
        async with self.database.transaction() as tx:
            await handlers.import_definitions(tx, definitions)


@pytest.fixture(scope="session")
def say() -> type[Say]:
    return Say


@pytest.fixture
async def road(bare_database: Database) -> Road:
    """The company is known; no definition is yet."""
    road = Road(bare_database)
    await road.take(*map(Say.employee, PEOPLE))
    await road.take(*map(Say.department, DEPARTMENTS))
    return road


@pytest.fixture
async def native(road: Road) -> Road:
    await road.use(Say.definition())
    return road


@pytest.fixture
async def delegated(road: Road) -> Road:
    await road.use(Say.definition("delegated"))
    return road


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def client(bare_database: Database, issuer: Issuer) -> AsyncIterator[httpx.AsyncClient]:
    verifier = issuer.verifier()
    async with api_client(Edge("workflow", bare_database, verifier, [router], REFUSALS)) as client:
        client.headers["accept-language"] = "en"
        yield client
    await verifier.close()


@pytest.fixture
def as_(issuer: Issuer) -> Callable[..., dict[str, str]]:
    """Headers of someone who is signed in."""
    return issuer.bearer
