"""A migrated database per test, the people of the stories, and an event's way to its handler."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chassis import Database, Origin, Received
from chassis.testing import database_fixture
from events import Envelope, Event, EventId, Money
from events.directory import EmployeeUpdated, EmploymentStatus
from events.notices import ChannelName
from events.workflow import ApprovalRequested, ApprovalTaskAssigned, ApprovalTaskClosed
from notifier import handlers
from uuid_utils.compat import uuid7

template, database = database_fixture("notifier", Path(__file__).parents[1] / "migrations")

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
CHANNELS = (ChannelName.IN_APP, ChannelName.EMAIL, ChannelName.WEBHOOK)


def employee(id_: str, name: str, **changes: Any) -> EmployeeUpdated:
    plain = {
        "employee_id": id_,
        "name": name,
        "email": f"{id_.lower()}@example.com",
        "department_id": "D110",
        "status": EmploymentStatus.ACTIVE,
        "updated_at": NOW,
    }
    return EmployeeUpdated(**{**plain, **changes})


class Road:
    """Hands events to their handlers, each as the consumer would: caused by itself."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tell = handlers.Notices(CHANNELS)
        self._sequence = itertools.count(1)

    def received(self, event: Event, sequence: int | None = None) -> Received[Any]:
        number = next(self._sequence) if sequence is None else sequence
        envelope = Envelope(EventId(uuid7()), NOW, number, event.key, event)
        return Received(event.TOPIC.name, 0, number, envelope)

    async def take(self, handler: Any, event: Event, cause: EventId | None = None) -> EventId:
        id_ = cause or EventId(uuid7())
        async with self.database.transaction(Origin(event.key, id_)) as tx:
            await handler(tx, event)
        return id_

    async def hire(self, *people: EmployeeUpdated) -> None:
        async with self.database.transaction() as tx:
            await handlers.on_employees_updated(tx, [self.received(it) for it in people])

    async def ask(self, claim_id: str = "C1", assignee: str = "E1002") -> EventId:
        """Lin Xiao's claim reaches its approver."""
        requested = ApprovalRequested(
            document_id=claim_id, document_kind="claim", revision=1, definition="travel@1",
            mode="native", submitter_id="E1001", title="上海出差",
            total=Money(amount=Decimal("1234.5"), currency="CNY"), route=(),
            content_hash="0" * 64, requested_at=NOW,
        )  # fmt: skip
        assigned = ApprovalTaskAssigned(
            document_id=claim_id, revision=1, task_id="T1", step=1, step_name="直属上级",
            assignee_id=assignee, assigned_at=NOW,
        )  # fmt: skip
        await self.take(handlers.on_approval_requested, requested)
        return await self.take(self.tell.on_task_assigned, assigned)

    async def end(self, claim_id: str = "C1", task_id: str = "T1") -> None:
        """Somebody else has decided the step."""
        closed = ApprovalTaskClosed(
            document_id=claim_id, revision=1, task_id=task_id, step=1, assignee_id="E1002",
            closing="step_done", closed_at=NOW,
        )  # fmt: skip
        async with self.database.transaction() as tx:
            await handlers.on_tasks_ended(tx, [self.received(closed)])


@pytest.fixture
async def road(database: Database) -> Road:
    road = Road(database)
    await road.hire(
        employee("E1001", "林晓"),
        employee("E1002", "王强"),
        employee("E1005", "孙洁", roles=("admin",)),
        employee("E1010", "Emma Clarke", language="en"),
    )
    return road


@pytest.fixture
def hire_as() -> Callable[..., EmployeeUpdated]:
    return employee


@pytest.fixture
def eventually() -> Callable[..., Awaitable[Any]]:
    """Ask until the answer satisfies, or fail with the last answer."""

    async def wait(question: Any, satisfied: Any = bool, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not satisfied(answer := await question()):
            assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
            await asyncio.sleep(0.05)
        return answer

    return wait
