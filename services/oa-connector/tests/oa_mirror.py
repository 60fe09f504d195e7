"""One task of a mirrored approval, as it is shown in a real Flowable and decided in Tonglu."""

from datetime import UTC, datetime

from chassis import Database
from events import EmployeeId, TaskId
from events.workflow import (
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
    Closing,
    Decision,
)
from oa_connector import handlers, store
from oa_connector.domain import Accounts, State
from oa_connector.vendors.channel import Limits
from oa_connector.vendors.flowable import Flowable, FlowableAccess
from oa_road import People, Road


class Mirror:
    """One task of a mirrored approval, shown in the OA."""

    def __init__(self, database: Database, road: Road, assignee: str) -> None:
        self.database = database
        self.road = road
        self.task_id = TaskId(f"{road.event.document_id}.1.1.1")
        self.assignee = EmployeeId(assignee)

    @property
    def about(self) -> dict:
        event = self.road.event
        return {
            "document_id": event.document_id,
            "revision": 1,
            "task_id": self.task_id,
            "step": 1,
            "assignee_id": self.assignee,
        }

    async def show(self) -> None:
        await self.road.request()
        now = datetime.now(UTC)
        assigned = ApprovalTaskAssigned(**self.about, step_name="审批", assigned_at=now)
        async with self.database.transaction() as tx:
            await handlers.on_task_assigned(tx, assigned)

    async def decided(self, decision: Decision, via: str = "tonglu") -> None:
        about = {name: value for name, value in self.about.items() if name != "assignee_id"}
        decided = ApprovalTaskDecided(
            **about,
            decision=decision,
            decided_by=self.assignee,
            via=via,
            content_hash=self.road.event.content_hash,
            decided_at=datetime.now(UTC),
        )
        async with self.database.transaction() as tx:
            await handlers.on_task_decided(tx, decided)

    async def closed(self) -> None:
        closed = ApprovalTaskClosed(
            **self.about, closing=Closing.TRANSFERRED, closed_at=datetime.now(UTC)
        )
        async with self.database.transaction() as tx:
            await handlers.on_task_closed(tx, closed)

    async def submission(self):
        async with self.database.transaction() as tx:
            return await store.submission(tx, self.task_id)

    async def is_closed(self) -> bool:
        return (await self.submission()).state is State.CLOSED


async def notes(people: People, key: str) -> list[str]:
    (process,) = await people.processes(key)
    path = f"/history/historic-process-instances/{process['id']}/comments"
    return [one["message"] for one in (await people.call("GET", path)).json()]


def made(kind: type[Flowable], people: People) -> Flowable:
    """An OA that has its ways, at the same server."""
    user, password = people.admin
    access = FlowableAccess(people.url, user, lambda _: password)
    return kind(access, Limits(rest=0.2), Accounts())
