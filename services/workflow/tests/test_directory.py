"""Our copy of the company on a real PostgreSQL, and the cost centres by API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from chassis import Received
from chassis.http import Edge
from chassis.testing import api_client
from events import Envelope, EventId
from events.directory import DepartmentStatus, EmploymentStatus
from uuid_utils.compat import uuid7
from workflow.directory import api, handlers
from workflow.directory.domain import Directory

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def received(*events) -> list[Received]:
    return [
        Received(
            event.TOPIC.name,
            0,
            offset,
            Envelope(
                id=EventId(UUID(str(uuid7()))),
                time=NOW,
                sequence=1,
                correlation_id=event.key,
                event=event,
            ),
        )
        for offset, event in enumerate(events)
    ]


@pytest.fixture
def around(database):
    """The directory around these people."""

    async def ask(*ids: str, roles=(), cost_centres=()) -> Directory:
        async with database.transaction() as tx:
            return await handlers.directory_around(tx, ids, roles, cost_centres)

    return ask


@pytest.fixture
def tell(database):
    """Bring news of people and departments."""

    async def bring(*people, departments=()) -> None:
        async with database.transaction() as tx:
            await handlers.on_employees(tx, received(*people))
            await handlers.on_departments(tx, received(*departments))

    return bring


async def test_whole_line_heads_and_holders_come_in_one_answer(around) -> None:
    found = await around("lin", "wei", roles=["finance"])
    assert set(found.people) == {"lin", "wei", "wang", "chen", "zhao", "ada"}
    assert found.managers("lin") == ("wang", "chen")
    assert list(found.heads(found.people["lin"].department_id)) == ["wang", "chen"]
    assert (found.holders("finance"), found.holders("admin")) == (("zhao",), ("ada",))


async def test_only_what_is_asked_for_is_read(around) -> None:
    found = await around("chen")
    assert set(found.people) == {"chen", "ada", "wang"}  # wang: the head of chen's department


async def test_last_state_of_a_batch_counts_and_leavers_stay_known(around, tell, employee) -> None:
    left = employee("wang", "chen", status=EmploymentStatus.LEFT)
    await tell(employee("lin", "zhao"), employee("lin", "wang"), left)
    found = await around("lin")
    assert found.managers("lin") == ("wang", "chen")
    assert not found.is_here(found.people["wang"].employee_id)


async def test_state_that_is_brought_twice_changes_nothing(around, tell, employee) -> None:
    before = await around("lin")
    await tell(employee("lin", "wang"))
    await tell(employee("lin", "wang"))
    assert await around("lin") == before


async def test_circles_of_managers_and_departments_end(around, tell, employee, department) -> None:
    await tell(
        *(employee("wang", "chen"), employee("chen", "lin")),
        departments=[department("D100", "D110", None), department("D110", "D100", None)],
    )
    found = await around("lin")
    assert found.managers("lin") == ("wang", "chen")
    assert found.is_below_oneself(found.people["lin"].employee_id)
    assert list(found.path(found.people["lin"].department_id)) == ["D110", "D100"]


async def test_closed_department_names_no_head(around, tell, employee, department) -> None:
    closed = department("D110", "D100", "wang", status=DepartmentStatus.CLOSED)
    await tell(employee("lin", "wang"), departments=[closed])
    found = await around("lin")
    assert list(found.heads(found.people["lin"].department_id)) == ["chen"]


@pytest.fixture
async def desk(database, issuer) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, an administrator, before our API."""
    verifier = issuer.verifier()
    async with api_client(
        Edge("workflow", database, verifier, [api.router], api.REFUSALS)
    ) as client:
        client.headers.update({"accept-language": "en", **issuer.bearer("ada", "admin")})
        yield client
    await verifier.close()


async def test_who_changed_a_cost_centre_stays_with_it(desk, issuer, database) -> None:
    both = [{"id": "CC1", "owner_id": "chen"}, {"id": "CC2", "owner_id": "wang"}]
    await desk.put("/api/cost-centres", json={"items": both})
    both[1]["owner_id"] = "zhao"
    other = issuer.bearer("chen", "admin")
    await desk.put("/api/cost-centres", json={"items": both}, headers=other)
    async with database.transaction() as tx:
        rows = await tx.fetch("SELECT id, changed_by FROM cost_centre ORDER BY id")
    assert [tuple(row) for row in rows] == [("CC1", "ada"), ("CC2", "chen")]


async def test_cost_centres_are_replaced_as_a_whole_and_found_with_their_owners(
    desk, around
) -> None:
    two = {"items": [{"id": "CC1", "owner_id": "chen"}, {"id": "CC2", "owner_id": "wang"}]}
    for _ in range(2):
        assert (await desk.put("/api/cost-centres", json=two)).status_code == 200
    assert (await desk.get("/api/cost-centres")).json() == two
    found = await around("lin", cost_centres=["CC1", "CC9"])
    assert found.owners == {"CC1": "chen"}
    one = {"items": [{"id": "CC2", "owner_id": "zhao"}]}
    await desk.put("/api/cost-centres", json=one)
    assert (await desk.get("/api/cost-centres")).json() == one


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{"id": "CC1", "owner_id": "nobody"}], "nobody, the owner of cost centre CC1"),
        ([{"id": "CC1", "owner_id": "ada"}] * 2, "CC1 is named twice"),
        ([{"id": "CC 1", "owner_id": "ada"}], "Must match"),
        ([{"id": "CC1"}], "Required"),
    ],
)
async def test_cost_centre_without_an_owner_who_works_here_is_refused(desk, items, said) -> None:
    refused = await desk.put("/api/cost-centres", json={"items": items})
    assert refused.status_code == 422
    assert said in refused.text
    assert (await desk.get("/api/cost-centres")).json() == {"items": []}


async def test_only_an_administrator_keeps_cost_centres(desk, issuer) -> None:
    someone = issuer.bearer("lin", "finance")
    assert (await desk.get("/api/cost-centres", headers=someone)).status_code == 403
    answer = await desk.put("/api/cost-centres", json={"items": []}, headers=someone)
    assert answer.status_code == 403
