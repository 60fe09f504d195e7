"""`tonglu approvals`: who decides what, as data: definitions in and out, and what they would do."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tonglu.output import Exit, Output, OutputOption, console, show, show_one
from tonglu.site import Site

approvals = typer.Typer(no_args_is_help=True, help="Who decides what. 审批流。")
definitions = typer.Typer(no_args_is_help=True, help="Definitions as files. 审批定义。")
approvals.add_typer(definitions, name="definitions")

_YAML = "application/yaml"
IdArgument = Annotated[str, typer.Argument(help="the definition's id, as travel-claim")]
VersionOption = Annotated[
    int | None, typer.Option(help="the one in force today, or else the highest, by default")
]


@definitions.command("ls")
def list_definitions(output: OutputOption = Output.TABLE) -> None:
    """Every version of every definition, and which are in force today."""
    answer = asyncio.run(Site().call("workflow", "GET", "/api/definitions"))
    show(answer["items"], output)  # type: ignore[arg-type]


@definitions.command("show")
def show_definition(
    id_: IdArgument, version: VersionOption = None, output: OutputOption = Output.TABLE
) -> None:
    """One version: its rules in the order of the steps.

    Example: tonglu approvals definitions show travel-claim --version 1
    """
    answer = asyncio.run(Site().call("workflow", "GET", _path(id_), params=_wanted(version)))
    show_one(answer, output)


@definitions.command("export")
def export_definition(
    id_: IdArgument,
    version: VersionOption = None,
    to: Annotated[Path | None, typer.Option(help="a file; the terminal by default")] = None,
) -> None:
    """One version as YAML; to import that again changes nothing.

    Example: tonglu approvals definitions export travel-claim --to travel-claim.yaml
    """
    answer = asyncio.run(
        Site().ask(
            *("workflow", "GET", _path(id_)), params=_wanted(version), headers={"accept": _YAML}
        )
    )
    if to is None:
        typer.echo(answer.text, nl=False)
    else:
        to.write_text(answer.text, encoding="utf-8")
        console.print(str(to))


@definitions.command("import")
def import_definition(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON")],
    id_: Annotated[
        str | None, typer.Option("--id", help="the definition's id; the file's name by default")
    ] = None,
) -> None:
    """Import one version. A fault is refused with its line and column, and nothing is kept.

    Example: tonglu approvals definitions import examples/company/definitions/travel-claim.yaml
    """
    answer = asyncio.run(
        Site().call(
            *("workflow", "PUT", _path(id_ or file.stem)),
            content=file.read_bytes(),
            headers={"content-type": _YAML},
        )
    )
    console.print(f"{answer['id']}@{answer['version']}")


@approvals.command()
def simulate(
    id_: IdArgument,
    submitter: Annotated[str, typer.Option(help="who hands it in, as E1001")] = "",
    total: Annotated[str, typer.Option(help='as "1280.00 CNY"')] = "",
    document: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="as JSON: lines, violations, version, on (a day) …"
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Who would be asked, in which order and why; exit code 3 where it would get stuck.

    Example: tonglu approvals simulate travel-claim --submitter E1001 --total "1280.00 CNY"
    """
    body: dict[str, Any] = json.loads(document.read_text("utf-8")) if document else {}
    if submitter:
        body["submitter_id"] = submitter
    if total:
        amount, _, currency = total.partition(" ")
        body["total"] = {"amount": amount, "currency": currency}
    answer: dict[str, Any] = asyncio.run(
        Site().call("workflow", "POST", f"{_path(id_)}/simulate", json=body)
    )
    if output is Output.JSON:
        show_one(answer, output)
    else:
        _tell(answer)
    if answer["stuck"]:
        raise typer.Exit(Exit.DIFFERENT)


def _tell(answer: dict[str, Any]) -> None:
    if answer["automatic"]:
        console.print(f"[bold]automatic[/bold]  {answer['automatic']}")
    steps = [
        {
            "step": step["step"],
            "name": step["name"],
            "asked": ", ".join(_person(one) for one in step["asked"]),
            "rule": ", ".join(sorted({one["rule"] for one in step["asked"]})),
            "completion": step["completion"],
            "due in working hours": step["due_hours"],
        }
        for step in answer["steps"]
    ]
    show(steps, Output.TABLE, title=answer["definition"] or "")
    for name in ("reasons", "stuck"):
        if found := [{"step": it["step_id"], "why": it["en"]} for it in answer[name]]:
            show(found, Output.TABLE, title=name)


def _person(asked: dict[str, Any]) -> str:
    person = str(asked["approver_id"])
    if asked["stand_in_id"]:
        person = f"{person} (stand-in {asked['stand_in_id']})"
    return f"{person} (as administrator)" if asked["by_administrator"] else person


def _path(id_: str) -> str:
    return f"/api/definitions/{id_}"


def _wanted(version: int | None) -> dict[str, int]:
    return {} if version is None else {"version": version}
