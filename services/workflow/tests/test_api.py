"""The inbox over HTTP: what is answered, what is refused, and in which words."""

import asyncio

import httpx
import pytest
from events import EmployeeId
from events.oa import Drift, OADriftDetected
from workflow.approval import handlers
from workflow.approval.api.models import InboxPage

HASH = "ab" * 32
TASK = "c-1.1.1.1"


@pytest.fixture
def act(client, issuer):
    """Decide as somebody; `said` replaces parts of a plain yes."""

    async def post(who: str, task: str = TASK, key: str = "k-1", **said) -> httpx.Response:
        headers = issuer.bearer(who, "employee") | {"idempotency-key": key}
        body = {"decision": "approve", "content_hash": HASH} | said
        return await client.post(f"/api/tasks/{task}/decide", json=body, headers=headers)

    return post


@pytest.fixture
def read(client, issuer):
    async def get(who: str, path: str, role: str = "employee") -> httpx.Response:
        return await client.get(path, headers=issuer.bearer(who, role))

    return get


async def test_my_open_tasks_say_what_they_are_about_and_why_they_are_mine(submitted, read) -> None:
    await submitted()
    page = (await read("wang", "/api/tasks")).json()
    (task,) = page["items"]
    assert page["next"] is None
    assert (task["task_id"], task["rule"], task["decide_in"]) == (
        TASK,
        "line_manager(lin)",
        "tonglu",
    )
    assert task["total"] == {"amount": "120.50", "currency": "CNY"}
    assert task["content_hash"] == HASH
    # It is written without its model, and is what the model promises all the same.
    assert InboxPage.model_validate(page).model_dump(mode="json") == page
    assert (await read("zhao", "/api/tasks")).json()["items"] == []


async def test_inbox_is_paged_without_loss_while_tasks_are_decided(
    submitted, hand_in, claim, read, act
) -> None:
    await submitted()
    for number in range(2, 6):
        await hand_in(claim(f"c-{number}"))
    seen, cursor = [], ""
    while cursor is not None:
        page = (await read("wang", f"/api/tasks?limit=2{cursor}")).json()
        seen += [task["task_id"] for task in page["items"]]
        await act("wang", seen[-1], key=seen[-1])
        cursor = page["next"] and f"&after={page['next']}"
    assert seen == [f"c-{number}.1.1.1" for number in range(1, 6)]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "after=%00", "after=a%20b"])
async def test_page_that_cannot_be_is_refused(read, query) -> None:
    assert (await read("wang", f"/api/tasks?{query}")).status_code == 422


async def test_decision_is_answered_with_the_task_and_asks_on(submitted, read, act) -> None:
    await submitted()
    answer = await act("wang", opinion=" 同意 ")
    assert answer.status_code == 200, answer.text
    task = answer.json()
    assert (task["status"], task["decision"], task["via"]) == ("decided", "approve", "tonglu")
    assert task["opinion"] == "同意"
    assert (await read("wang", "/api/tasks")).json()["items"] == []
    assert [one["step"] for one in (await read("zhao", "/api/tasks")).json()["items"]] == [2]


async def test_same_key_is_the_same_decision(database, submitted, act) -> None:
    await submitted()
    first, again = await act("wang"), await act("wang")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    async with database.transaction() as tx:
        found = "SELECT count(*) FROM outbox WHERE type = 'approval.task-decided.v1'"
        assert await tx.fetchval(found) == 1


async def test_two_windows_decide_once(submitted, act) -> None:
    await submitted()
    answers = await asyncio.gather(act("wang", key="a"), act("wang", key="b"))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize("task", [TASK, "c-9.1.1.1", "%00", "a%20b", "x" * 300])
async def test_task_of_another_person_is_not_found(submitted, act, task) -> None:
    await submitted()
    assert (await act("zhao", task)).status_code == 404


async def test_decided_task_says_by_whom_when_and_where(client, submitted, act) -> None:
    await submitted()
    await act("wang")
    answer = await act("wang", key="k-2")
    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["type"], problem["decided_by"], problem["via"]) == (
        "urn:tonglu:problem:task-decided",
        "wang",
        "tonglu",
    )
    assert "wang decided this at 20" in problem["detail"]
    client.headers["accept-language"] = "zh-CN"
    assert "这项待办已由 wang" in (await act("wang", key="k-3")).json()["detail"]


async def test_task_called_off_says_so(database, submitted, hand_in, claim, act) -> None:
    await submitted()
    await hand_in(claim(revision=2))
    answer = await act("wang")
    assert (answer.status_code, answer.json()["title"]) == (409, "task cancelled")


async def test_other_content_is_refused(submitted, act) -> None:
    await submitted()
    answer = await act("wang", content_hash="0" * 64)
    assert (answer.status_code, answer.json()["title"]) == (409, "content changed")
    assert "none of the revisions" in answer.json()["detail"]


async def test_what_the_oa_decides_is_shown_here_and_decided_there(submitted, act, read) -> None:
    await submitted(tenant="oa")
    (task,) = (await read("wang", "/api/tasks")).json()["items"]
    assert task["decide_in"] == "oa"
    answer = await act("wang")
    assert (answer.status_code, answer.json()["tenant"]) == (409, "oa")


async def test_administrator_reads_why_and_decides_here(submitted, do, act, read) -> None:
    await submitted(tenant="oa")
    drift = OADriftDetected(
        document_id="c-1",
        revision=1,
        tenant="oa",
        instance_id="i",
        drift=Drift.VANISHED,
        detail="",
        detected_at="2026-11-24T10:00:00Z",
    )
    await do(handlers.on_oa_drift, drift)
    (task,) = (await read("ada", "/api/tasks")).json()["items"]
    assert (task["decide_in"], task["rule"]) == (
        "tonglu",
        "administrator (the OA differs: vanished)",
    )
    assert (await act("ada", task["task_id"])).status_code == 200


@pytest.mark.parametrize("decision", ["return", "reject"])
async def test_refusal_without_a_reason_is_refused(submitted, act, decision) -> None:
    await submitted()
    answer = await act("wang", decision=decision)
    assert (answer.status_code, answer.json()["field"]) == (422, "/opinion")
    assert (await act("wang", decision=decision, opinion="票据不清")).status_code == 200


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"decision": "UNKNOWN"}, "/decision"),
        ({"decision": "approved"}, "/decision"),
        ({"content_hash": "x"}, "/content_hash"),
        ({"opinion": "  "}, "/opinion"),
        ({"opinion": "a\x00"}, "/opinion"),
        ({"opinion": "长" * 1001}, "/opinion"),
        ({"by": "chen"}, "/by"),
    ],
)
async def test_body_that_breaks_a_rule_names_the_field(submitted, act, said, field) -> None:
    await submitted()
    answer = await act("wang", **said)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_road_of_a_document_is_shown_to_who_takes_part_in_it(submitted, act, read) -> None:
    await submitted()
    await act("wang")
    for who, role in [
        ("lin", "employee"),
        ("wang", "employee"),
        ("zhao", "employee"),
        ("x", "finance"),
    ]:
        answer = await read(who, "/api/approvals/c-1", role)
        assert answer.status_code == 200, who
        road = answer.json()
    assert [(step["approver_id"], step["rule"]) for step in road["route"]] == [
        ("wang", "line_manager(lin)"),
        ("zhao", "role(finance)"),
    ]
    assert [(task["status"], task["decided_by"]) for task in road["tasks"]] == [
        ("decided", "wang"),
        ("open", None),
    ]
    assert (road["status"], road["total"]["amount"]) == ("open", "120.50")


async def test_approver_reads_who_sent_an_earlier_revision_back_and_why(
    submitted, hand_in, claim, act, read
) -> None:
    await submitted()
    await act("wang", decision="return", opinion="缺附件")
    await hand_in(claim(revision=2))
    before = (await read("wang", "/api/approvals/c-1?revision=1")).json()
    assert (before["revision"], before["status"]) == (1, "returned")
    assert before["tasks"][0]["decided_by"] == "wang"
    assert (await read("wang", "/api/approvals/c-1")).json()["revision"] == 2
    assert (await read("wang", "/api/approvals/c-1?revision=3")).status_code == 404
    assert (await read("wei", "/api/approvals/c-1?revision=1")).status_code == 404
    assert (await read("wang", "/api/approvals/c-1?revision=0")).status_code == 422


async def test_road_of_a_document_is_not_found_by_others(submitted, hand_in, claim, read) -> None:
    await submitted()
    assert (await read("wei", "/api/approvals/c-1")).status_code == 404
    assert (await read("lin", "/api/approvals/c-2")).status_code == 404
    assert (await read("lin", "/api/approvals/%00")).status_code == 404
    # Who took part in an earlier revision alone has no part in this one.
    await hand_in(claim(revision=2, employee_id=EmployeeId("zhao")))
    assert (await read("lin", "/api/approvals/c-1")).status_code == 404


async def test_nothing_is_open_to_who_is_not_signed_in(client) -> None:
    for path in ("/api/tasks", "/api/approvals/c-1"):
        assert (await client.get(path)).status_code == 401
