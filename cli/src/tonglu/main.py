"""`tonglu`: up, down, demo, doctor, oa, approvals, directory, topics, replay, dlq, token."""

import asyncio
import sys
from typing import Annotated

import httpx
import typer
from local_stack.process import NotReady
from local_stack.stack import Stack

from tonglu import company as company_
from tonglu import demo as demo_
from tonglu import doctor as doctor_
from tonglu import operate, topics
from tonglu.approvals import approvals
from tonglu.oa import oa
from tonglu.output import Exit, Output, OutputOption, console, errors, show
from tonglu.site import FOLDER, NotRunningError, RefusedError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="同路 Tonglu: one claim's road through the company and its OA.\n\n"
    "Exit codes: 0 done · 1 failed · 2 wrong words · 3 found something to look at.",
)
app.add_typer(topics.app, name="topics")
app.add_typer(operate.dlq, name="dlq")
app.add_typer(operate.directory, name="directory")
app.add_typer(oa, name="oa")
app.add_typer(approvals, name="approvals")
app.command()(topics.replay)
app.command()(operate.token)


@app.command()
def up() -> None:
    """Start the embedded stack and the five services; leave them running."""
    asyncio.run(demo_.start(with_finance=False))
    status()


@app.command()
def down() -> None:
    """Stop everything that `up` or `demo` started here, from any terminal."""
    asyncio.run(Stack(FOLDER).down())
    console.print("stopped / 已停止")


@app.command()
def company() -> None:
    """Write the demo company's people, machines and secrets, which `deploy/compose.yaml` reads."""
    company_.prepare(FOLDER)
    console.print(str(FOLDER))


@app.command()
def status(output: OutputOption = Output.TABLE) -> None:
    """What runs, where, and how much memory it takes."""
    rows = [
        {
            "name": one.name,
            "pid": one.pid,
            "running": "yes" if one.is_running else "no",
            "MiB": one.memory_bytes // 1024**2,
            "address": " ".join(one.provides.values()),
        }
        for one in Stack(FOLDER).status()
    ]
    show(rows, output)


@app.command()
def demo(
    manual: Annotated[bool, typer.Option(help="a person decides in the OA's page")] = False,
    once: Annotated[bool, typer.Option(help="stop everything once the claim is paid")] = False,
    mirrored: Annotated[
        bool, typer.Option(help="each task is open in both systems: one decides there, one here")
    ] = False,
) -> None:
    """Start everything and drive one claim along the whole road."""
    raise typer.Exit(asyncio.run(demo_.run(demo_.Way(manual, mirrored), once=once)))


@app.command()
def doctor(output: OutputOption = Output.TABLE) -> None:
    """Say what is installed, what runs, and what is missing."""
    raise typer.Exit(doctor_.examine(output))


def main() -> None:
    """The console script: known failures become a sentence and an exit code."""
    try:
        app()
    except (NotRunningError, RefusedError, NotReady) as problem:
        errors.print(f"[red]{problem}[/red]")
        sys.exit(Exit.FAILED)
    except httpx.HTTPError as problem:
        errors.print(f"[red]{type(problem).__name__}: {problem}[/red] — `tonglu doctor`")
        sys.exit(Exit.FAILED)
