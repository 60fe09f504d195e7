"""How commands speak: a table for people, JSON for programs, stable exit codes."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
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
        table.add_row(*("" if value is None else str(value) for value in row.values()))
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
    for name, value in content.items():
        console.print(f"[bold]{name}[/bold]  {value}")
