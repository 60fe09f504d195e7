"""`tonglu dlq`, `directory` and `token`: what an operator does, through the services' API."""

import asyncio
import uuid
from typing import Annotated

import typer
from local_stack.pkce import sign_in

from tonglu.output import Exit, Output, OutputOption, console, show, show_one
from tonglu.site import Site
from tonglu.topology import SERVICES

dlq = typer.Typer(no_args_is_help=True, help="Events that could not take effect. 搁置的事件。")
directory = typer.Typer(no_args_is_help=True, help="People and departments. 人员与部门。")

ServiceArgument = Annotated[str, typer.Argument(help=f"one of {', '.join(SERVICES)}")]


@dlq.command("ls")
def list_parked(
    service: Annotated[str | None, typer.Argument(help="one service; all by default")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Parked keys with their reason and age; exit code 3 when there are any."""

    async def run() -> list[dict[str, object]]:
        site, rows = Site(), []
        token = await site.machine_token()
        for name in [service] if service else SERVICES:
            answer = await site.call(name, "GET", "/admin/parked", token=token)
            rows += [{"service": name, **row} for row in answer["items"]]  # type: ignore[attr-defined]
        return rows

    rows = asyncio.run(run())
    show(rows, output)
    if rows:
        raise typer.Exit(Exit.DIFFERENT)


@dlq.command("show")
def show_parked(
    service: ServiceArgument, topic: str, key: str, output: OutputOption = Output.TABLE
) -> None:
    """The parked events of one key, in order, with why.

    Example: tonglu dlq show claims TOPIC KEY
    """
    answer = asyncio.run(
        Site().call(service, "GET", "/admin/parked/events", params={"topic": topic, "key": key})
    )
    show(answer["items"], output)  # type: ignore[arg-type]


@dlq.command()
def redrive(service: ServiceArgument, topic: str, key: str) -> None:
    """Apply the parked events of one key in order, then let it flow again."""
    answer = asyncio.run(
        Site().call(service, "POST", "/admin/parked/redrive", json={"topic": topic, "key": key})
    )
    console.print(f"applied {answer['applied']}")


@directory.command()
def plan(output: OutputOption = Output.TABLE) -> None:
    """What an apply would change, and every problem in the files; exit code 3 for problems."""
    answer = asyncio.run(Site().call("directory-sync", "POST", "/api/directory/plan"))
    show_one(answer, output)
    if answer.get("problems"):
        raise typer.Exit(Exit.DIFFERENT)


@directory.command("apply")
def apply_plan(
    digest: Annotated[
        str | None, typer.Option(help="apply only if the plan still is this one")
    ] = None,
    force: Annotated[bool, typer.Option(help="also above the removal threshold")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take the files over, in one transaction.

    Example: tonglu directory apply
    """

    async def run() -> dict[str, object]:
        site = Site()
        token = await site.machine_token()
        wanted = digest
        if wanted is None:
            planned = await site.call("directory-sync", "POST", "/api/directory/plan", token=token)
            wanted = str(planned["digest"])
        return await site.call(
            *("directory-sync", "POST", "/api/directory/apply"),
            token=token,
            json={"digest": wanted, "force": force},
            headers={"idempotency-key": str(uuid.uuid4())},
        )

    show_one(asyncio.run(run()), output)


@directory.command()
def status(output: OutputOption = Output.TABLE) -> None:
    """The last run: when, from what, with which result."""
    show_one(asyncio.run(Site().call("directory-sync", "GET", "/api/directory/status")), output)


def token(
    as_: Annotated[str, typer.Option("--as", help="a person's id, as E1001, or a machine client")],
) -> None:
    """An access token, by code + PKCE for a person.

    Example: tonglu token --as E1001
    """

    async def run() -> str:
        site = Site()
        if as_.startswith("E"):
            return await sign_in(site.address("OIDC_ISSUER"), as_, site.password())
        return await site.machine_token(as_)

    typer.echo(asyncio.run(run()))
