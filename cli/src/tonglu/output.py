"""How commands speak: a table for people, JSON for programs, stable exit codes."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

# A pipe or a log has no width of its own: rows stay whole there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
errors = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """What the exit code of every command means."""

    OK = 0
    FAILED = 1  # the command could not do its work
    USAGE = 2  # the call's words are wrong (typer's own)
    DIFFERENT = 3  # it worked, and found what someone must look at


class Output(StrEnum):
    """The form of the answer."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs")
]


def show(rows: Sequence[Mapping[str, Any]], output: Output, *, title: str = "") -> None:
    """Print rows of like keys."""
    if output is Output.JSON:
        console.print_json(json.dumps(list(rows), ensure_ascii=False, default=str))
        return
    if not rows:
        console.print("[dim]— nothing / 无 —[/dim]")
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None)
    for column in rows[0]:
        table.add_column(str(column), overflow="fold")
    for row in rows:
        table.add_row(*(_said(value) for value in row.values()))
    console.print(table)


def waiting(what: str) -> Progress:
    """For the time of a `with`: what is waited for and since when, on a terminal alone."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=errors, transient=True)
    progress.add_task(what, total=None)
    return progress


def show_one(content: Mapping[str, Any], output: Output) -> None:
    """Print one object."""
    if output is Output.JSON:
        console.print_json(json.dumps(dict(content), ensure_ascii=False, default=str))
        return
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in content.items():
        if isinstance(value, Mapping) and value.keys() != _LANGUAGES:
            table.add_row(name, "")
            for part, inner in value.items():
                table.add_row(f"  {part}", _said(inner) or "—")
        else:
            table.add_row(name, _said(value) or "—")
    console.print(table)


_LANGUAGES = {"zh", "en"}


def _said(value: object) -> str:
    """A value in a person's words, on one line."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case Mapping() if value.keys() == _LANGUAGES:
            return f"{value['zh']} {value['en']}"
        case Mapping():
            return ", ".join(f"{name}={_said(inner) or '—'}" for name, inner in value.items())
        case list() | tuple():
            return ", ".join(map(_said, value)) if value else "none"
        case _:
            return escape(str(value))  # a bracket in it is no style
