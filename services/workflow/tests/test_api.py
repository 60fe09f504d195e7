"""The inbox over HTTP: whose tasks, which decisions, and every refusal in its words."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from events.oa import OAInstanceClosed
from workflow.app import read_definitions
from workflow.settings import PACKAGED_DEFINITIONS

TASK = "C1.1.1.1"
ROOT = Path(__file__).resolve().parents[3]


async def decide(
    client: httpx.AsyncClient, headers: dict[str, str], task: str = TASK, **body: Any
) -> httpx.Response:
    key = {"idempotency-key": body.pop("key", "k-1")}
    asked = {"decision": "approve", "content_hash": "a1" * 32, **body}
    return await client.post(f"/api/tasks/{task}/decide", json=asked, headers=headers | key)


async def inbox(client: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> Any:
    answer = await client.get("/api/tasks", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_my_inbox_shows_what_waits_for_me_and_nothing_else(native, say, client, as_) -> None:
    await native.take(say.submitted())
    (task,) = (await inbox(client, as_("wang")))["items"]
    assert task["task_id"] == TASK
    assert task["total"] == {"amount": "1488.00", "currency": "CNY"}
    assert (task["rule"], task["decide_in"]) == ("line_manager(lin)", "tonglu")
    assert (await inbox(client, as_("he")))["items"] == []
    assert (await inbox(client, as_("lin")))["items"] == []


async def test_the_inbox_is_read_page_by_page(native, say, client, as_) -> None:
    await native.take(*(say.submitted(f"C{number}") for number in range(5)))
    await native.take(say.submitted("C5"))
    seen, after = [], {}
    while True:
        page = await inbox(client, as_("wang"), limit=2, **after)
        seen += [task["document_id"] for task in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [f"C{number}" for number in range(6)]


@pytest.mark.parametrize("cursor", ["%%%", "bm8=", "AAAA", "MDAwMS0wMS0wMSB4"])
async def test_a_cursor_that_is_not_ours_is_refused(native, client, as_, cursor) -> None:
    answer = await client.get("/api/tasks", params={"after": cursor}, headers=as_("wang"))
    assert answer.status_code == 422
    assert "use the next of the page before" in answer.json()["detail"]


async def test_a_task_shows_all_that_is_needed_to_decide(native, say, client, as_) -> None:
    await native.take(say.submitted())
    answer = (await client.get(f"/api/tasks/{TASK}", headers=as_("wang"))).json()
    assert answer["approval"]["details"] == ["hotel 11-20 1488.00 CNY"]
    assert answer["approval"]["content_hash"] == "a1" * 32
    assert (answer["task"]["status"], answer["decide_in"]) == ("open", "tonglu")


@pytest.mark.parametrize("who", ["he", "lin", "stranger", "luo"])
async def test_a_foreign_task_does_not_exist(native, say, client, as_, who) -> None:
    await native.take(say.submitted())
    roles = ("admin",) if who == "luo" else ()
    read = await client.get(f"/api/tasks/{TASK}", headers=as_(who, *roles))
    assert read.status_code == 404
    assert (await decide(client, as_(who, *roles))).status_code == 404
    assert (await decide(client, as_("wang"), "C9.1.1.1")).status_code == 404


async def test_a_decision_is_made_once_per_key(native, say, client, as_) -> None:
    await native.take(say.submitted())
    first = await decide(client, as_("wang"), opinion="  同意 ")
    assert first.status_code == 200, first.text
    assert (first.json()["decision"], first.json()["opinion"]) == ("approve", "同意")
    again = await decide(client, as_("wang"), opinion="  同意 ")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    other = await decide(client, as_("wang"), decision="reject", opinion="不")
    assert other.status_code == 422
    assert len((await inbox(client, as_("he")))["items"]) == 1


async def test_a_decided_task_says_who_when_and_where(native, say, client, as_) -> None:
    await native.take(say.submitted())
    await decide(client, as_("wang"))
    late = await decide(client, as_("wang"), key="k-2")
    assert late.status_code == 409
    problem = late.json()
    assert problem["type"] == "urn:tonglu:problem:task-decided"
    assert (problem["decided_by"], problem["via"]) == ("wang", "tonglu")
    assert problem["decided_at"] in problem["detail"]


async def test_a_task_that_was_called_off_says_so(native, say, client, as_) -> None:
    await native.take(say.submitted())
    await native.take(say.withdrawn())
    late = await decide(client, as_("wang"))
    assert (late.status_code, late.json()["title"]) == (409, "task cancelled")


async def test_another_content_than_the_one_shown_is_refused(native, say, client, as_) -> None:
    await native.take(say.submitted())
    answer = await decide(client, as_("wang"), content_hash="b2" * 32)
    assert (answer.status_code, answer.json()["title"]) == (409, "content changed")
    assert "open it again" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"opinion": "   "}])
@pytest.mark.parametrize("decision", ["reject", "return"])
async def test_a_no_needs_an_opinion(native, say, client, as_, *, decision, body) -> None:
    await native.take(say.submitted())
    answer = await decide(client, as_("wang"), decision=decision, **body)
    assert answer.status_code == 422
    assert "opinion" in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"decision": "UNKNOWN"}, "/decision"),
        ({"decision": "maybe"}, "/decision"),
        ({"content_hash": "short"}, "/content_hash"),
        ({"opinion": "x" * 1001}, "/opinion"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_a_bad_body_names_its_field(native, say, client, as_, *, body, field) -> None:
    await native.take(say.submitted())
    answer = await decide(client, as_("wang"), **body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_decision_needs_a_key_and_a_token(native, say, client, as_) -> None:
    await native.take(say.submitted())
    body = {"decision": "approve", "content_hash": "a1" * 32}
    answer = await client.post(f"/api/tasks/{TASK}/decide", json=body, headers=as_("wang"))
    assert answer.json()["title"] == "idempotency key missing"
    assert (await client.get("/api/tasks")).status_code == 401


async def test_what_runs_in_the_oa_is_decided_there(delegated, say, client, as_) -> None:
    await delegated.take(say.submitted())
    (task,) = (await inbox(client, as_("wang")))["items"]
    assert task["decide_in"] == "flowable"
    answer = await decide(client, as_("wang"))
    assert (answer.status_code, answer.json()["title"]) == (409, "decide in oa")
    assert "decide in flowable" in answer.json()["detail"]


async def test_every_administrator_sees_and_decides_an_administrators_task(
    delegated, say, client, as_
) -> None:
    await delegated.take(say.submitted(), say.submitted("C2", employee_id="sun"))
    for claim in ("C1", "C2"):
        await delegated.take(
            OAInstanceClosed(
                document_id=claim, revision=1, tenant="flowable", instance_id="P1",
                status="vanished", closed_at="2026-11-24T08:00:00Z",
            )
        )  # fmt: skip
    assert [t["document_id"] for t in (await inbox(client, as_("luo", "admin")))["items"]] == [
        "C1", "C2",
    ]  # fmt: skip
    sun = as_("sun", "admin")
    (task,) = (await inbox(client, sun))["items"]  # C2 is Sun's own
    assert (task["document_id"], task["assignee_id"]) == ("C1", "luo")
    assert (await decide(client, sun, task["task_id"])).json()["decided_by"] == "sun"
    assert (await decide(client, sun, "C2.1.1.2", key="k-2")).status_code == 404
    assert (await inbox(client, as_("sun")))["items"] == []  # without the role
    machine = as_("robot", "admin", machine=True)
    assert (await inbox(client, machine))["items"] == []


@pytest.mark.parametrize(
    ("who", "roles", "status"),
    [
        ("lin", (), 200),  # who submitted it
        ("wang", (), 200),
        ("he", (), 200),  # on the route, though not asked yet
        ("chen", (), 404),
        ("anyone", ("finance",), 200),
        ("anyone", ("auditor",), 200),
        ("anyone", ("admin",), 200),
        ("anyone", ("approver",), 404),
    ],
)
async def test_who_may_see_an_approval(native, say, client, as_, *, who, roles, status) -> None:
    await native.take(say.submitted())
    answer = await client.get("/api/approvals/C1", headers=as_(who, *roles))
    assert answer.status_code == status


async def test_an_approval_shows_who_decided_what_when_and_where(
    delegated, say, client, as_
) -> None:
    await delegated.take(say.submitted())
    await delegated.take(say.oa_decision(by="chen", opinion="同意"))
    seen = (await client.get("/api/approvals/C1", headers=as_("chen"))).json()
    assert [(step["approver_id"], step["rule"]) for step in seen["route"]] == [
        ("wang", "line_manager(lin)"),
        ("he", "role(finance)"),
    ]
    first, second = seen["tasks"]
    assert (first["decision"], first["decided_by"], first["via"]) == ("approve", "chen", "flowable")
    assert (first["opinion"], first["decided_at"][:10]) == ("同意", "2026-11-24")
    assert (second["status"], second["decision"]) == ("open", None)


async def test_the_latest_revision_is_shown(native, say, client, as_) -> None:
    await native.take(say.submitted(), say.submitted(revision=2))
    seen = (await client.get("/api/approvals/C1", headers=as_("lin"))).json()
    assert (seen["revision"], seen["status"]) == (2, "open")
    assert (await client.get("/api/approvals/C9", headers=as_("lin"))).status_code == 404


async def test_no_one_to_take_the_next_step_is_said_with_the_way_out(
    native, say, client, as_
) -> None:
    await native.take(say.submitted())
    await native.take(*(say.employee(one, roles=()) for one in ("luo", "sun")))
    await native.take(say.employee("he", manager_id=None, status="left"))
    answer = await decide(client, as_("wang"))
    assert (answer.status_code, answer.json()["title"]) == (409, "no administrator")
    assert "give someone the role admin" in answer.json()["detail"]


def test_the_packaged_definition_is_native_and_the_examples_runs_in_the_oa() -> None:
    (packaged,) = read_definitions(PACKAGED_DEFINITIONS)
    (company,) = read_definitions(ROOT / "examples" / "company" / "definitions")
    assert (packaged.mode, packaged.tenant) == ("native", None)
    assert (company.mode, company.tenant) == ("delegated", "flowable")
