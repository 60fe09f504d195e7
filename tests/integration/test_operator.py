"""What an operator does from the command line, on a running Tonglu."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from local_stack.places import CACHE, CHECKOUT
from town import FINANCE, MANAGER, Town, eventually

TONGLU = Path(sys.executable).with_name("tonglu")
NOBODY = "01935f5e-7b5c-7d4e-9a33-0c1f6a1c2b3d"


@dataclass(frozen=True, slots=True)
class Said:
    code: int | None
    out: str
    err: str


async def tonglu(town: Town, *words: str) -> Said:
    environment = os.environ | {"TONGLU_STACK": str(town.folder.relative_to(CACHE))}
    process = await asyncio.create_subprocess_exec(
        *(TONGLU, *words),
        cwd=CHECKOUT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode, out.decode(), err.decode())


async def test_an_oa_that_answers_is_well_and_says_what_it_can_do(town: Town) -> None:
    ping = await eventually(
        lambda: tonglu(town, "oa", "ping", "--output", "json"), until=lambda said: said.code == 0
    )
    assert [(one["tenant"], one["ok"]) for one in json.loads(ping.out)] == [("flowable", "yes")]
    (known,) = json.loads((await tonglu(town, "oa", "tenants", "flowable", "-o", "json")).out)
    assert known["capabilities"]["idempotency"] == "searchable"
    assert known["version"]


async def test_reconciling_a_sound_town_finds_nothing_new(town: Town) -> None:
    before = (await tonglu(town, "oa", "drift", "-o", "json")).out
    cycle = await tonglu(town, "oa", "reconcile", "--output", "json")
    assert [(one["tenant"], one["error"]) for one in json.loads(cycle.out)] == [("flowable", None)]
    assert (await tonglu(town, "oa", "drift", "-o", "json")).out == before
    assert cycle.code == (3 if json.loads(before) else 0)


async def test_what_is_not_there_is_said_in_words(town: Town) -> None:
    for words in (
        ("oa", "resolve", NOBODY, "--repair", "dismiss", "--note", "a test"),
        ("oa", "retry", f"{NOBODY}@1"),
        ("oa", "resume", "flowable", "no-such-form"),
        ("approvals", "definitions", "show", "no-such-definition"),
    ):
        said = await tonglu(town, *words)
        assert (said.code, "404" in said.err, "Traceback" in said.err) == (1, True, False), words


async def test_a_definition_goes_out_and_comes_back_the_same(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "travel-claim.yaml"
    export = ("approvals", "definitions", "export", "travel-claim")
    assert (await tonglu(town, *export, "--to", str(file))).code == 0
    imported = await tonglu(town, "approvals", "definitions", "import", str(file))
    assert imported.code == 0, imported
    assert (await tonglu(town, *export)).out == file.read_text(encoding="utf-8")


async def test_a_faulty_condition_is_refused_with_its_line_and_column(
    town: Town, tmp_path: Path
) -> None:
    file = tmp_path / "travel-claim.yaml"
    await tonglu(town, "approvals", "definitions", "export", "travel-claim", "--to", str(file))
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["version"] += 1000
    content["steps"][0]["when"] = "amount / 0 > 1"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    said = await tonglu(town, "approvals", "definitions", "import", str(file))
    assert said.code == 1
    assert "422" in said.err
    assert "line " in said.err
    assert "column " in said.err


async def test_simulating_names_who_would_be_asked_in_order(town: Town) -> None:
    claim = ("travel-claim", "--submitter", "E1001", "--total", "1280.00 CNY")
    said = await tonglu(town, "approvals", "simulate", *claim, "--output", "json")
    assert said.code == 0, said
    steps = json.loads(said.out)["steps"]
    assert [one["approver_id"] for step in steps for one in step["asked"]] == [MANAGER, FINANCE]
    table = await tonglu(town, "approvals", "simulate", *claim)
    assert table.out.index(MANAGER) < table.out.index(FINANCE)
