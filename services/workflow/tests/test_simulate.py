"""Definitions in force, whole batches of plans, and simulation, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from chassis.http import Edge
from chassis.testing import api_client
from events import DocumentId, EmployeeId, Money
from events.workflow import DocumentKind
from msgspec.structs import replace
from workflow.definition import api, handlers
from workflow.definition.domain import (
    Definition,
    DefinitionChanged,
    Document,
    NoAdministrator,
    parse_definition,
)
from workflow.standin.domain import Reason, Window
from workflow.standin.handlers import add_window

NOON = datetime(2026, 11, 24, 4, tzinfo=UTC)
YAML = """\
id: travel-claim
version: 1
name: {zh: 差旅报销, en: Travel claim}
kind: claim
mode: native
steps:
  - name: 直属上级
    approver: {rule: line_manager}
  - name: 财务
    when: amount > money("500.00 CNY")
    approver: {rule: role, role: finance}
"""
AUTOMATIC = 'automatic: {when: amount < money("100.00 CNY"), audit_percent: 40}\nsteps:'


def a_version(version: int = 1, **changed: Any) -> Definition:
    content = parse_definition(YAML).model_dump(by_alias=True) | {"version": version}
    return Definition.model_validate(content | changed)


def a_document(id_: str = "c-1", amount: str = "680.00", **changed: Any) -> Document:
    document = Document(
        document_id=DocumentId(id_),
        revision=1,
        kind=DocumentKind.CLAIM,
        submitter_id=EmployeeId("lin"),
        title="上海客户现场",
        total=Money(amount=Decimal(amount), currency="CNY"),
        content_hash="ab" * 32,
        handed_in_at=NOON,
    )
    return replace(document, **changed)


@pytest.fixture
def bring(database):
    """Import these versions."""

    async def bring(*versions: Definition) -> None:
        async with database.transaction() as tx:
            await handlers.import_definitions(tx, versions)

    return bring


@pytest.fixture
def plans(database):
    """Plan these documents in one batch."""

    async def plans(*documents: Document) -> list[handlers.Plan]:
        async with database.transaction() as tx:
            return await handlers.plan_routes(tx, documents)

    return plans


def asked(plan: handlers.Plan) -> list[str]:
    return [one.approver_id for step in plan.route.steps for one in step.found]


async def test_each_document_of_a_batch_gets_its_own_plan_in_the_same_order(bring, plans) -> None:
    await bring(a_version())
    boss = EmployeeId("wang")
    first, second, third = await plans(
        a_document("c-1"), a_document("c-2", "80.00"), a_document("c-3", submitter_id=boss)
    )
    assert [asked(one) for one in (first, second, third)] == [
        ["wang", "zhao"],
        ["wang"],
        ["chen", "zhao"],
    ]
    assert {one.definition.label for one in (first, second, third)} == {"travel-claim@1"}


async def test_batch_asks_the_database_as_often_as_one_document(bring, database) -> None:
    await bring(parse_definition(YAML.replace("steps:", AUTOMATIC)))
    queries: list[str] = []
    asked_for = []
    async with database.transaction() as tx:
        await handlers.plan_routes(tx, [a_document()])  # asyncpg learns the types first
        tx.connection.add_query_logger(lambda one: queries.append(one.query))
        for many in (1, 50):
            queries.clear()
            documents = [a_document(f"c-{n}") for n in range(many)]
            assert len(await handlers.plan_routes(tx, documents)) == many
            await tx.fetchval("SELECT 1")  # what was asked before is logged by now
            asked_for.append(sum(query != "SELECT 1" for query in queries))
    assert asked_for == [3, 3]


@pytest.mark.parametrize(
    ("day", "label"),
    [
        (datetime(2026, 11, 30, 15, 59, tzinfo=UTC), "travel-claim@1"),
        (datetime(2026, 11, 30, 16, 0, tzinfo=UTC), "travel-claim@2"),  # 1 December in China
        (datetime(2026, 12, 31, 15, 59, tzinfo=UTC), "travel-claim@2"),
        (datetime(2026, 12, 31, 16, 0, tzinfo=UTC), "travel-claim@1"),
    ],
)
async def test_highest_version_whose_days_hold_the_hand_in_is_in_force(
    bring, plans, day, label
) -> None:
    december = a_version(2, effective_from="2026-12-01", effective_to="2026-12-31")
    await bring(a_version(), december)
    (plan,) = await plans(a_document(handed_in_at=day))
    assert plan.definition.label == label


async def test_batch_over_a_change_of_version_plans_each_by_its_own(bring, plans) -> None:
    await bring(a_version(), a_version(2, effective_from="2026-12-01"))
    old, new = await plans(
        a_document("c-1"), a_document("c-2", handed_in_at=NOON + timedelta(days=10))
    )
    assert [old.definition.version, new.definition.version] == [1, 2]


async def test_what_a_plan_is_made_of_is_named_when_it_is_missing(bring, plans) -> None:
    with pytest.raises(handlers.NoDefinition, match="for claim is in force on 2026-11-24"):
        await plans(a_document())
    await bring(a_version(), a_version(2, effective_from="2026-12-01"))
    with pytest.raises(handlers.NoDefinition, match="for trip"):
        await plans(a_document(kind=DocumentKind.TRIP))
    with pytest.raises(handlers.SubmitterUnknown, match="newcomer"):
        await plans(a_document(submitter_id=EmployeeId("newcomer")))
    await bring(a_version(3, steps=[{"name": "x", "approver": {"rule": "role", "role": "x"}}]))
    with pytest.raises(NoAdministrator):  # ada is the only one, and the submitter
        await plans(a_document(submitter_id=EmployeeId("ada")))


async def test_every_kind_of_document_may_have_its_own_definition(bring, plans) -> None:
    await bring(a_version(), a_version(id="trip-request", kind="trip"))
    claim, trip = await plans(a_document(), a_document("t-1", kind=DocumentKind.TRIP))
    assert (claim.definition.id, trip.definition.id) == ("travel-claim", "trip-request")


async def test_same_import_again_is_nothing_and_another_content_is_refused(bring) -> None:
    await bring(a_version(), a_version())
    with pytest.raises(DefinitionChanged, match="raise its version"):
        await bring(a_version(mode="delegated", tenant="oa"))
    with pytest.raises(DefinitionChanged, match="keep that id"):
        await bring(a_version(id="another"))


async def test_processes_that_import_at_once_keep_one(bring, database) -> None:
    await asyncio.gather(*(bring(a_version()) for _ in range(5)))
    async with database.transaction() as tx:
        assert [one.definition for one in await handlers.versions(tx)] == [a_version()]


async def test_lot_of_a_document_stays_when_it_is_handed_in_again(bring, plans) -> None:
    await bring(parse_definition(YAML.replace("steps:", AUTOMATIC)))
    batch = [a_document(f"c-{n}", "80.00") for n in range(100)]
    first = [one.route.automatic is None for one in await plans(*batch)]
    again = [
        one.route.automatic is None for one in await plans(*(replace(d, revision=2) for d in batch))
    ]
    assert first == again
    assert 15 < sum(first) < 65  # 40 percent of 100


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


ADDRESS = "/api/definitions/travel-claim"


async def test_definition_goes_in_as_yaml_and_comes_out_as_yaml_and_json(desk) -> None:
    for _ in range(2):
        assert (await desk.put(ADDRESS, content=YAML)).status_code == 200
    as_yaml = await desk.get(ADDRESS, headers={"accept": "application/yaml"})
    assert as_yaml.headers["content-type"].startswith("application/yaml")
    assert parse_definition(as_yaml.text) == parse_definition(YAML)
    as_json = await desk.get(ADDRESS, params={"version": 1})
    assert parse_definition(as_json.text) == parse_definition(YAML)
    for same in (as_yaml, as_json):
        assert (await desk.put(ADDRESS, content=same.content)).status_code == 200


async def test_list_says_which_version_is_in_force_today_and_who_brought_it(desk, bring) -> None:
    await desk.put(ADDRESS, content=YAML)
    await bring(a_version(2), a_version(3, effective_from="2099-01-01"))
    items = (await desk.get("/api/definitions")).json()["items"]
    assert [one["imported_by"] for one in items] == [None, None, "ada"]
    assert [(one["version"], one["in_force"]) for one in items] == [
        (3, False),
        (2, True),
        (1, False),
    ]
    assert (await desk.get(ADDRESS)).json()["version"] == 2
    assert (await desk.get(ADDRESS, params={"version": 3})).json()["version"] == 3


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("amount >", "100 / (amount - 500) >", ("/steps/1/when", 10, 15, "division by zero")),
        ("amount >", "total >", ("/steps/1/when", 10, 11, "no field total")),
        ("rule: role, role", "rule: role, rolle", ("/steps/1/approver/rolle", 11, 35, "Extra")),
        ("id: travel-claim", "id: another", ("/id", 1, 1, "not the id in the address")),
        ("steps:", "steps: [", ("/", 7, 3, "not YAML")),
    ],
)
async def test_definition_with_a_fault_is_refused_with_line_column_and_field(
    desk, before, after, fault
) -> None:
    refused = await desk.put(ADDRESS, content=YAML.replace(before, after))
    assert refused.status_code == 422
    assert refused.json()["type"] == "urn:tonglu:problem:definition-invalid"
    (one, *_) = refused.json()["errors"]
    assert (one["field"], one["line"], one["column"]) == fault[:3]
    assert fault[3] in one["detail"]
    chinese = await desk.put(
        ADDRESS, content=YAML.replace(before, after), headers={"accept-language": "zh"}
    )
    assert any("一" <= letter <= "鿿" for letter in chinese.json()["errors"][0]["detail"])


async def test_text_that_is_not_utf_8_is_refused(desk) -> None:
    refused = await desk.put(ADDRESS, content=YAML.encode("gbk"))
    assert (refused.status_code, "UTF-8" in refused.text) == (422, True)


async def test_known_version_is_not_changed(desk) -> None:
    await desk.put(ADDRESS, content=YAML)
    refused = await desk.put(
        ADDRESS, content=YAML.replace("mode: native", "mode: native\nresubmit: to_rejector")
    )
    assert refused.status_code == 409
    assert "raise its version" in refused.json()["detail"]


CLAIM = {"submitter_id": "lin", "total": {"amount": "680.00", "currency": "CNY"}}


async def test_simulation_says_who_is_asked_in_which_order_why_and_by_whom_instead(
    desk, bring, database
) -> None:
    await bring(a_version())
    async with database.transaction() as tx:
        window = Window(
            id="w-1",
            person_id=EmployeeId("wang"),
            stand_in_id=EmployeeId("wei"),
            kinds=None,
            begins_at=tx.now - timedelta(days=1),
            ends_at=tx.now + timedelta(days=1),
            reason=Reason.LEAVE,
            created_by="test",
        )
        await add_window(tx, window)
    answer = (await desk.post(f"{ADDRESS}/simulate", json=CLAIM)).json()
    assert [(s["step"], s["id"], s["asked"]) for s in answer["steps"]] == [
        (
            1,
            "step-1",
            [
                {
                    "approver_id": "wang",
                    "rule": "line_manager(lin)",
                    "by_administrator": False,
                    "stand_in_id": "wei",
                }
            ],
        ),
        (
            2,
            "step-2",
            [
                {
                    "approver_id": "zhao",
                    "rule": "role(finance)",
                    "by_administrator": False,
                    "stand_in_id": None,
                }
            ],
        ),
    ]
    assert [(one["step_id"], one["step"]) for one in answer["reasons"]] == [
        ("step-1", 1),
        ("step-2", 2),
    ]
    assert 'amount > money("500.00 CNY") holds' in answer["reasons"][1]["en"]
    assert "成立" in answer["reasons"][1]["zh"]
    assert answer["stuck"] == []


async def test_simulation_leaves_nothing_behind(desk, bring, database) -> None:
    await bring(a_version())
    await desk.post(f"{ADDRESS}/simulate", json=CLAIM)
    async with database.transaction() as tx:
        for table in ("approval", "task", "outbox"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608


@pytest.mark.parametrize(
    ("changed", "step_id", "said"),
    [
        ({"submitter_id": "chen"}, "step-1", "has no approver, ada is asked"),
        ({"submitter_id": "nobody"}, "submitter", "does not know the submitter"),
        ({"on": "2020-01-01"}, "travel-claim", "no version of it is in force on 2020-01-01"),
        ({"total": {"amount": "1", "currency": "USD"}}, "step-2", "cannot be compared with USD"),
    ],
)
async def test_simulation_says_where_it_would_get_stuck(
    desk, bring, changed, step_id, said
) -> None:
    await bring(a_version(effective_from="2026-01-01"))
    answer = await desk.post(f"{ADDRESS}/simulate", json=CLAIM | changed)
    assert answer.status_code == 200
    (stuck,) = answer.json()["stuck"]
    assert (stuck["step_id"], said in stuck["en"]) == (step_id, True)
    assert stuck["zh"]


async def test_simulation_without_any_administrator_is_stuck(desk, bring, database) -> None:
    await bring(a_version())
    async with database.transaction() as tx:
        await tx.execute("UPDATE employee SET roles = '{}' WHERE employee_id = 'ada'")
    answer = (await desk.post(f"{ADDRESS}/simulate", json=CLAIM | {"submitter_id": "chen"})).json()
    assert answer["steps"] == []
    assert "no one is an administrator" in answer["stuck"][0]["en"]


async def test_simulation_of_what_needs_no_one_names_the_rule_and_the_share(desk) -> None:
    await desk.put(ADDRESS, content=YAML.replace("steps:", AUTOMATIC))
    small = CLAIM | {"total": {"amount": "80.00", "currency": "CNY"}}
    answer = (await desk.post(f"{ADDRESS}/simulate", json=small)).json()
    assert (answer["steps"], answer["audit_percent"]) == ([], 40)
    assert answer["automatic"] == 'automatic (amount < money("100.00 CNY"))'


async def test_simulation_of_an_unknown_definition_or_version_is_not_found(desk, bring) -> None:
    await bring(a_version())
    none = await desk.post("/api/definitions/none/simulate", json=CLAIM)
    version = await desk.post(f"{ADDRESS}/simulate", json=CLAIM | {"version": 9})
    assert (none.status_code, version.status_code) == (404, 404)
    assert (await desk.get("/api/definitions/none")).status_code == 404


CHOICE = """
  - id: expert
    name: {zh: 专家, en: Expert}
    approvers: [{rule: chosen_by_submitter, from: {people: [wang], roles: [finance]}, max: 2}]
  - name: 同事
    approvers: [{rule: chosen_by_submitter, min: 2, max: 3}]
"""


async def test_anyone_may_ask_whom_to_choose_before_handing_in(desk, issuer) -> None:
    someone = issuer.bearer("lin", "employee")
    ask = {"params": {"kind": "claim"}, "headers": someone}
    assert (await desk.get("/api/approver-choices", **ask)).status_code == 404
    assert (await desk.put(ADDRESS, content=YAML + CHOICE)).status_code == 200
    expert = {"step_id": "expert", "name": "专家", "fewest": 1, "most": 2}
    peers = {"step_id": "step-4", "name": "同事", "fewest": 2, "most": 3}
    assert (await desk.get("/api/approver-choices", **ask)).json()["items"] == [
        expert | {"candidates": ["wang", "zhao"]},
        peers | {"candidates": None},
    ]


async def test_only_an_administrator_imports_and_simulates(desk, issuer) -> None:
    for role, reads in (("auditor", 200), ("finance", 403)):
        someone = issuer.bearer("lin", role)
        assert (await desk.get("/api/definitions", headers=someone)).status_code == reads
        assert (await desk.put(ADDRESS, content=YAML, headers=someone)).status_code == 403
        answer = await desk.post(f"{ADDRESS}/simulate", json=CLAIM, headers=someone)
        assert answer.status_code == 403
