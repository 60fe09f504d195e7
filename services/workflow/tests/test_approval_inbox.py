"""What people do in the inbox over HTTP besides one decision: verbs, batches, and reading."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from events.directory import EmploymentStatus

HASH = "ab" * 32
TASK = "c-1.1.1.1"


@pytest.fixture
def post(client, issuer):
    """Send somebody's request; each is a new one unless `key` says otherwise."""
    sent = iter(range(1000))

    async def send(who: str, path: str, key: str | None = None, **body) -> httpx.Response:
        headers = issuer.bearer(who, "employee") | {"idempotency-key": key or f"k-{next(sent)}"}
        return await client.post(f"/api/tasks/{path}", json=body, headers=headers)

    return send


@pytest.fixture
def decide(post):
    async def send(who: str, task: str = TASK, decision: str = "approve") -> httpx.Response:
        said = {"decision": decision, "content_hash": HASH, "opinion": "看过"}
        return await post(who, f"{task}/decide", **said)

    return send


@pytest.fixture
def read(client, issuer):
    async def get(who: str, path: str, role: str = "employee") -> httpx.Response:
        return await client.get(f"/api/{path}", headers=issuer.bearer(who, role))

    return get


@pytest.fixture
def inbox(read):
    async def tasks(who: str) -> list[str]:
        return [one["task_id"] for one in (await read(who, "tasks")).json()["items"]]

    return tasks


def item(task: str, decision: str = "approve", **changed):
    return {"task_id": task, "decision": decision, "content_hash": HASH, "opinion": "好"} | changed


async def test_batch_gives_each_decision_its_own_result(
    submitted, hand_in, claim, post, inbox
) -> None:
    await submitted()
    for number in range(2, 6):
        await hand_in(claim(f"c-{number}"))
    await post("wang", "decide", items=[item("c-2.1.1.1")])
    asked = [
        item(TASK),
        item("c-2.1.1.1"),
        item("c-3.1.1.1", content_hash="0" * 64),
        item("c-4.1.1.1", "reject", opinion=None),
        item("c-9.1.1.1"),
        item("c-5.1.1.1", "return"),
        item(TASK, "reject"),
    ]
    answer = await post("wang", "decide", items=asked)
    assert answer.status_code == 200, answer.text
    results = answer.json()["items"]
    assert [one["task_id"] for one in results] == [one["task_id"] for one in asked]
    assert [(one["problem"] or {"title": None})["title"] for one in results] == [
        *(None, "task decided", "content changed", "opinion missing", "not found", None),
        "task decided",
    ]
    assert results[0]["task"]["decision"] == "approve"
    assert results[1]["problem"]["detail"].startswith("wang decided this at")
    assert await inbox("wang") == ["c-3.1.1.1", "c-4.1.1.1"]
    assert await inbox("zhao") == ["c-2.1.2.1", "c-1.1.2.1"]


async def test_batch_of_two_steps_of_one_document_is_decided_in_its_order(
    submitted, post, read
) -> None:
    await submitted("line_manager", {"approver": {"rule": "person", "person": "wang"}})
    answer = await post("wang", "decide", items=[item(TASK), item("c-1.1.2.1")])
    # The second task was not there yet when the batch began.
    assert [bool(one["task"]) for one in answer.json()["items"]] == [True, False]
    assert (await post("wang", "decide", items=[item("c-1.1.2.1")])).json()["items"][0]["task"]
    assert (await read("wang", "approvals/c-1")).json()["status"] == "approved"


async def test_batch_again_with_its_key_is_the_same_answer(database, submitted, post) -> None:
    await submitted()
    first = await post("wang", "decide", key="k", items=[item(TASK)])
    again = await post("wang", "decide", key="k", items=[item(TASK)])
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("count", [0, 201])
async def test_batch_holds_up_to_two_hundred(submitted, post, count) -> None:
    await submitted()
    answer = await post("wang", "decide", items=[item(TASK)] * count)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "/items")


async def test_two_hundred_decisions_take_as_many_statements_as_two(
    database, submitted, hand_in, claim, post
) -> None:
    await submitted()
    await hand_in(*(claim(f"c-{number}") for number in range(2, 203)))

    async def statements(numbers: range) -> int:
        count = 0

        def seen(_record) -> None:
            nonlocal count
            count += 1

        async with database.pool.acquire() as connection:
            inner = connection._con
        # Every connection of the pool may serve the call.
        holders = [holder._con for holder in database.pool._holders if holder._con is not None]
        for one in {inner, *holders}:
            one.add_query_logger(seen)
        tasks = [item(f"c-{number}.1.1.1") for number in numbers]
        answer = await post("wang", "decide", items=tasks)
        for one in {inner, *holders}:
            one.remove_query_logger(seen)
        assert all(one["task"] for one in answer.json()["items"])
        return count

    assert await statements(range(1, 3)) == await statements(range(3, 203)) > 0


async def test_transfer_moves_the_task_and_who_had_it_is_told(
    submitted, post, inbox, decide
) -> None:
    await submitted()
    answer = await post("wang", f"{TASK}/transfer", to="chen", text="我不在")
    assert answer.status_code == 200, answer.text
    (task,) = answer.json()["open_tasks"]
    assert (task["assignee_id"], task["verb"]) == ("chen", "transfer")
    assert (await inbox("wang"), await inbox("chen")) == ([], ["c-1.1.1.2"])
    assert (await decide("wang")).json()["title"] == "task cancelled"
    assert (await decide("chen", "c-1.1.1.2")).status_code == 200


async def test_delegation_comes_back(submitted, post, inbox, decide) -> None:
    await submitted()
    await post("wang", f"{TASK}/delegate", to="chen")
    assert (await decide("chen", "c-1.1.1.2", "reject")).status_code == 200
    assert await inbox("wang") == ["c-1.1.1.3"]


async def test_signers_are_added_before_and_after_and_removed(
    submitted, post, inbox, decide
) -> None:
    await submitted()
    await post("wang", f"{TASK}/add-sign", when="before", people=["chen", "wei", "chen"])
    assert (await inbox("chen"), await inbox("wei")) == (["c-1.1.1.2"], ["c-1.1.1.3"])
    answer = await post("wang", f"{TASK}/remove-sign", people=["wei"])
    assert answer.status_code == 200, answer.text
    await decide("chen", "c-1.1.1.2")
    assert await inbox("wang") == ["c-1.1.1.4"]
    await post("wang", "c-1.1.1.4/add-sign", when="after", people=["ada"])
    assert await inbox("ada") == []
    await decide("wang", "c-1.1.1.4")
    assert (await inbox("ada"), await inbox("zhao")) == (["c-1.1.1.5"], [])
    await decide("ada", "c-1.1.1.5")
    assert await inbox("zhao") == ["c-1.1.2.1"]


async def test_return_to_an_earlier_step_and_straight_back(submitted, post, inbox, decide) -> None:
    await submitted("line_manager", "department_head", "finance", same_approver="none")
    await decide("wang")
    await decide("wang", "c-1.1.2.1")
    answer = await post("zhao", "c-1.1.3.1/return-to", step=1, then="back", text="请再看")
    assert answer.status_code == 200, answer.text
    assert (await inbox("zhao"), await inbox("wang")) == ([], ["c-1.1.1.2"])
    await decide("wang", "c-1.1.1.2")
    assert await inbox("zhao") == ["c-1.1.3.2"]


@pytest.mark.parametrize(
    ("asked", "title", "said"),
    [
        (("transfer", {"to": "lin"}), "target is submitter", "lin handed this in"),
        (("transfer", {"to": "wang"}), "target asked", "asked in this step already"),
        (("delegate", {"to": "nobody"}), "person not here", "unknown or has left"),
        (("remove-sign", {"people": ["chen"]}), "not removable", "not added by you"),
        (("return-to", {"step": 1, "text": "x"}), "step not done", "can go back to: -"),
        (("transfer", {"to": "a b"}), "invalid request", "1 fields"),
        (("add-sign", {"when": "x", "people": ["chen"]}), "invalid request", "1 fields"),
        (("add-sign", {"when": "after", "people": []}), "invalid request", "1 fields"),
        (("comment", {"text": " "}), "invalid request", "1 fields"),
        (("comment", {"text": "a\x00"}), "invalid request", "1 fields"),
        (("return-to", {"step": 1}), "invalid request", "1 fields"),
    ],
)
async def test_what_is_not_allowed_is_refused_with_the_way_out(
    submitted, post, asked, title, said
) -> None:
    await submitted()
    path, body = asked
    answer = await post("wang", f"{TASK}/{path}", **body)
    assert (answer.status_code, answer.json()["title"]) == (422, title)
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("transfer", {"to": "chen"}),
        ("delegate", {"to": "chen"}),
        ("add-sign", {"when": "before", "people": ["chen"]}),
        ("remove-sign", {"people": ["chen"]}),
        ("return-to", {"step": 1, "text": "x"}),
        ("copy", {"to": ["wei"]}),
        ("comment", {"text": "x"}),
        ("urge", {}),
    ],
)
async def test_task_of_others_is_not_found_by_who_has_no_part_in_it(
    submitted, post, path, body
) -> None:
    await submitted()
    for task in (TASK, "c-9.1.1.1", "%00"):
        assert (await post("wei", f"{task}/{path}", **body)).status_code == 404


async def test_who_was_sent_a_copy_may_read_and_comment(submitted, post, read) -> None:
    await submitted()
    assert (await read("wei", "approvals/c-1")).status_code == 404
    answer = await post("lin", f"{TASK}/copy", to=["wei", "nobody"])
    assert (answer.status_code, answer.json()["title"]) == (422, "person not here")
    assert (await post("lin", f"{TASK}/copy", to=["wei"])).status_code == 200
    assert (await post("wei", f"{TASK}/comment", text="知悉")).status_code == 200
    acts = (await read("wei", "approvals/c-1")).json()["acts"]
    assert [(one["verb"], one["acted_by"], one["targets"], one["text"]) for one in acts] == [
        ("copy", "lin", ["wei"], None),
        ("comment", "wei", [], "知悉"),
    ]
    assert (await post("wei", f"{TASK}/transfer", to="chen")).status_code == 404


async def test_task_is_urged_once_an_hour(database, submitted, post) -> None:
    await submitted()
    assert (await post("lin", f"{TASK}/urge")).status_code == 200
    answer = await post("lin", f"{TASK}/urge", text="急")
    assert (answer.status_code, answer.json()["title"]) == (409, "urged already")
    async with database.transaction() as tx:
        await tx.execute("UPDATE act SET acted_at = acted_at - interval '1 hour'")
    assert (await post("lin", f"{TASK}/urge")).status_code == 200
    answer = await post("wang", f"{TASK}/urge")
    assert (answer.status_code, answer.json()["title"]) == (403, "not yours to urge")


async def test_task_says_what_i_may_do_now(submitted, read, decide) -> None:
    await submitted()
    await decide("wang")
    look = (await read("zhao", "tasks/c-1.1.2.1")).json()
    assert look["moves"][:4] == ["approve", "reject", "return", "transfer"]
    assert (look["return_steps"], look["details"]) == ([1], ["meal 11-20 120.50"])
    assert (await read("lin", "tasks/c-1.1.2.1")).json()["moves"] == ["urge", "copy", "comment"]
    assert (await read("wei", "tasks/c-1.1.2.1")).status_code == 404


async def test_refusal_of_an_older_content_says_what_changed(
    submitted, hand_in, claim, client, post
) -> None:
    await submitted()
    await hand_in(claim(revision=2, content_hash="cd" * 32, title="北京客户现场"))
    said = {"decision": "approve", "content_hash": HASH}
    answer = await post("wang", "c-1.2.1.1/decide", **said)
    assert answer.status_code == 409
    assert "revision 1; title 上海客户现场 → 北京客户现场" in answer.json()["detail"]
    client.headers["accept-language"] = "zh"
    answer = await post("wang", "c-1.2.1.1/decide", **said)
    assert "你看到的是第 1 版；标题 上海客户现场 → 北京客户现场" in answer.json()["detail"]


async def test_who_decided_as_whom_where_and_on_which_content_is_kept(
    submitted, read, post, decide
) -> None:
    await submitted()
    await post("wang", f"{TASK}/delegate", to="chen")
    await decide("chen", "c-1.1.1.2")
    tasks = (await read("lin", "approvals/c-1")).json()["tasks"]
    mine, asked, again = tasks
    assert (mine["status"], mine["closing"]) == ("cancelled", "transferred")
    assert {name: asked[name] for name in ("decided_by", "acting_for", "via", "content_hash")} == {
        "decided_by": "chen",
        "acting_for": "wang",
        "via": "tonglu",
        "content_hash": HASH,
    }
    assert asked["decided_at"] is not None
    assert again["status"] == "open"


async def test_administrator_sees_what_has_no_approver(submitted, hire, employee, read) -> None:
    await submitted()
    assert (await read("wang", "tasks/administrator")).status_code == 403
    assert (await read("ada", "tasks/administrator", "admin")).json()["items"] == []
    left = employee("wang", None, status=EmploymentStatus.LEFT)
    await hire(employee("ada", "chen"), left)
    (stuck,) = (await read("x", "tasks/administrator", "admin")).json()["items"]
    assert (stuck["task_id"], stuck["assignee_id"]) == (TASK, "wang")
    await hire(employee("bo", "chen", "admin"))
    (moved,) = (await read("bo", "tasks/administrator", "admin")).json()["items"]
    assert (moved["assignee_id"], moved["rule"]) == (
        "bo",
        "administrator (line_manager(wang): no one)",
    )


async def test_task_for_a_stand_in_says_for_whom(submitted, client, issuer, read, inbox) -> None:
    begins = datetime.now(UTC) - timedelta(hours=1)
    window = {
        "stand_in_id": "chen",
        "begins_at": begins.isoformat(),
        "ends_at": (begins + timedelta(days=1)).isoformat(),
    }
    headers = issuer.bearer("wang", "employee") | {"idempotency-key": "w"}
    answer = await client.post("/api/stand-ins", json=window, headers=headers)
    assert answer.status_code == 201, answer.text
    await submitted()
    (task,) = (await read("chen", "tasks")).json()["items"]
    assert (task["acting_for"], task["rule"]) == ("wang", "stand_in(wang)")
    assert await inbox("wang") == []
