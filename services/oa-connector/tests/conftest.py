"""A migrated database per test, and the events that bring work."""

import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chassis.testing import database_fixture
from events import DocumentId, EmployeeId, Money, TenantId
from events.workflow import ApprovalRequested, DocumentKind, Mode, RouteStep
from oa_connector.domain import DecidedStep, Snapshot, Status
from uuid_utils.compat import uuid7

sys.path.append(str(Path(__file__).parent))  # the tests are no package, and share oa_road.py
from oa_mirror import Mirror
from oa_road import People, Proxy, Road

template, database = database_fixture("oa-connector", Path(__file__).parents[1] / "migrations")

CONTENT_HASH = "a1" * 32


@pytest.fixture
def approval() -> Callable[..., ApprovalRequested]:
    """A delegated approval of a new document by chen, then zhou, unless `changes` say else."""

    def make(*approvers: str, **changes: Any) -> ApprovalRequested:
        route = tuple(
            RouteStep(step=step, name="审批", approver_id=EmployeeId(one), rule="line_manager")
            for step, one in enumerate(approvers or ("chen", "zhou"), start=1)
        )
        fields: dict[str, Any] = {
            "document_id": DocumentId(str(uuid7())),
            "document_kind": DocumentKind.CLAIM,
            "revision": 1,
            "definition": "travel-claim@1",
            "mode": Mode.DELEGATED,
            "tenant": TenantId("flowable"),
            "submitter_id": EmployeeId("lin"),
            "title": "上海客户现场实施",
            "total": Money(amount=Decimal("1488.00"), currency="CNY"),
            "route": route,
            "content_hash": CONTENT_HASH,
            "requested_at": datetime.now(UTC),
        }
        return ApprovalRequested(**{**fields, **changes})

    return make


@pytest.fixture
def chen_approved() -> Callable[[ApprovalRequested], Snapshot]:
    """The process of an approval after its first decision."""

    def make(event: ApprovalRequested) -> Snapshot:
        step = DecidedStep(EmployeeId("chen"), "approve", "同意", event.requested_at, "t1")
        return Snapshot(Status.PENDING, event.content_hash, (step,))

    return make


@pytest.fixture
def people(flowable) -> People:
    return People(flowable.url, flowable.admin)


@pytest.fixture
async def proxy(flowable) -> AsyncIterator[Proxy]:
    address = urlsplit(flowable.url)
    proxy = Proxy(address.hostname, address.port)
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
def road(database, approval) -> Road:
    return Road(database, approval("chen", "zhou"))


@pytest.fixture
def mirror(database, approval) -> Mirror:
    return Mirror(database, Road(database, approval("chen", mode=Mode.MIRRORED)), "chen")
