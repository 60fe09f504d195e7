"""`tonglu oa` against a connector's answers: every page is read, codes mean what they say."""

import json
from collections.abc import Iterator

import httpx
import pytest
import respx
from tonglu.oa import oa
from typer.testing import CliRunner, Result

CONNECTOR = "http://oa-connector.test"
ISSUER = "http://issuer.test"
WELL = {
    "tenant": "flowable",
    "version": "7.2.0",
    "error": None,
    "checked_at": "2026-11-24T12:00:00Z",
    "degraded": False,
    "detail": "",
    "breaker": "closed",
    "unattended": False,
    "templates": [],
}


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    monkeypatch.setenv("OA_CONNECTOR_URL", CONNECTOR)
    monkeypatch.setenv("OIDC_ISSUER", ISSUER)
    monkeypatch.setenv("CLIENT_SECRET", "secret")
    with respx.mock(assert_all_called=False) as router:
        token = f"{ISSUER}/token"
        router.get(f"{ISSUER}/.well-known/openid-configuration").respond(
            json={"token_endpoint": token}
        )
        router.post(token).respond(json={"access_token": "t"})
        yield router


def tonglu_oa(*words: str) -> Result:
    return CliRunner().invoke(oa, [*words, "--output", "json"], catch_exceptions=False)


@pytest.mark.parametrize(("command", "code"), [("drift", 3), ("submissions", 0)])
def test_a_list_is_read_to_its_end(connector: respx.MockRouter, command: str, code: int) -> None:
    pages = {None: ([1, 2], "2"), "2": ([3, 4], "4"), "4": ([], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        items, following = pages[request.url.params.get("after")]
        return httpx.Response(200, json={"items": [{"id": n} for n in items], "next": following})

    connector.get(f"{CONNECTOR}/api/oa/{command}").mock(side_effect=answer)
    said = tonglu_oa(command)
    assert [one["id"] for one in json.loads(said.stdout)] == [1, 2, 3, 4]
    assert said.exit_code == code


@pytest.mark.parametrize(
    ("change", "code", "trouble"),
    [
        ({}, 0, ""),
        ({"error": "401 "}, 3, "401 "),
        ({"unattended": True}, 3, "nobody works for it"),
        ({"templates": [{"name": "claim", "paused": True}]}, 3, "paused: claim"),
    ],
)
def test_ping_asks_each_oa_and_says_by_its_code_whether_all_is_well(
    connector: respx.MockRouter, change: dict, code: int, trouble: str
) -> None:
    asked = connector.post(f"{CONNECTOR}/api/oa/probe").respond(
        json={"items": [{**WELL, **change}]}
    )
    said = tonglu_oa("ping")
    assert asked.call_count == 1
    assert said.exit_code == code
    (row,) = json.loads(said.stdout)
    assert row["trouble"].startswith(trouble)


def test_a_comparison_is_waited_for_as_long_as_it_takes(connector: respx.MockRouter) -> None:
    cycle = {"tenant": "flowable", "listed": 1, "read": 10_000, "ghosts": 0, "error": None}
    compared = connector.post(f"{CONNECTOR}/api/oa/reconcile").respond(json={"items": [cycle]})
    left = connector.get(f"{CONNECTOR}/api/oa/drift").respond(json={"items": [], "next": None})
    said = tonglu_oa("reconcile")
    assert (said.exit_code, json.loads(said.stdout)) == (0, [cycle])
    patience = [one.calls.last.request.extensions["timeout"]["read"] for one in (compared, left)]
    assert patience == [None, 60]
