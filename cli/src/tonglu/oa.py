"""`tonglu oa`: what each OA can do and how it is, and what an administrator does about it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from tonglu.output import Exit, Output, OutputOption, console, show, show_one, waiting
from tonglu.site import Site

# A comparison reads every open row, at the pace of the OA.
_AS_LONG_AS_IT_TAKES = httpx.Timeout(60, read=None)

oa = typer.Typer(no_args_is_help=True, help="The OAs: state, submissions, drift. OA 运维。")


def _ask(method: str, path: str, **options: Any) -> dict[str, Any]:
    return asyncio.run(Site().call("oa-connector", method, f"/api/oa{path}", **options))


def _all(path: str, *query: tuple[str, str]) -> list[dict[str, Any]]:
    """Every page of a list."""
    items: list[dict[str, Any]] = []
    after: list[tuple[str, str]] = []
    while True:
        page = _ask("GET", path, params=[*query, *after, ("limit", "200")])
        items += page["items"]
        if page["next"] is None:
            return items
        after = [("after", page["next"])]


@oa.command()
def ping(output: OutputOption = Output.TABLE) -> None:
    """Ask each OA now; exit code 3 when one does not answer, or is not what it was.

    Example: tonglu oa ping
    """
    rows = [_health(one) for one in _ask("POST", "/probe")["items"]]
    show(rows, output)
    # Where there is none to ask, nothing is known, and that is not well.
    if not rows or any(row["ok"] == "no" for row in rows):
        raise typer.Exit(Exit.DIFFERENT)


@oa.command()
def tenants(
    tenant: Annotated[str | None, typer.Argument(help="one; all by default")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What each OA can do: capabilities, version, forms, clock, breaker.

    Example: tonglu oa tenants flowable --output json
    """
    found = [one for one in _ask("GET", "/tenants")["items"] if tenant in {None, one["tenant"]}]
    if output is Output.JSON:
        show(found, output)
        return
    for one in found:
        show_one(one, output)


@oa.command()
def submissions(
    state: Annotated[
        str | None, typer.Option(help="as NEEDS_HUMAN, UNKNOWN; all that are open by default")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What is on its way into the OA or waits there, the longest untouched first.

    Example: tonglu oa submissions --state NEEDS_HUMAN
    """
    show(_all("/submissions", *([("state", state)] if state else [])), output)


@oa.command()
def drift(
    resolved: Annotated[bool, typer.Option(help="those that were resolved")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Where an OA and Tonglu disagree, both sides shown; exit code 3 when there is any.

    Example: tonglu oa drift
    """
    cases = _all("/drift", ("resolved", str(resolved).lower()))
    _show_cases(cases, output)
    if cases and not resolved:
        raise typer.Exit(Exit.DIFFERENT)


@oa.command()
def reconcile(output: OutputOption = Output.TABLE) -> None:
    """Compare every OA with Tonglu now and repair what is safe; exit code 3 for what is left.

    Example: tonglu oa reconcile
    """
    with waiting("comparing 核对中"):
        cycles = _ask("POST", "/reconcile", timeout=_AS_LONG_AS_IT_TAKES)["items"]
    show(cycles, output)
    left = _ask("GET", "/drift", params={"limit": "1"})["items"]
    if left or any(one["error"] for one in cycles):
        raise typer.Exit(Exit.DIFFERENT)


@oa.command()
def resolve(
    drift_id: Annotated[str, typer.Argument(help="from `tonglu oa drift`")],
    repair: Annotated[str, typer.Option(help="read_again, withdraw, send_again or dismiss")],
    note: Annotated[str, typer.Option(help="why; kept with it")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Settle one disagreement as a person has judged it.

    Example: tonglu oa resolve DRIFT_ID --repair read_again --note "asked the manager"
    """
    body = {"repair": repair, "note": note}
    show_one(_ask("POST", f"/drift/{drift_id}/resolve", json=body), output)


@oa.command()
def retry(
    business_key: Annotated[str, typer.Argument(help="from `tonglu oa submissions`")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Search the OA for a stuck document again, and create only if nothing is found.

    Example: tonglu oa retry DOCUMENT_ID@1
    """
    show_one(_ask("POST", f"/submissions/{quote(business_key, safe='@')}/retry"), output)


@oa.command()
def resume(
    tenant: str,
    template: Annotated[str, typer.Argument(help="the form that was changed in the OA")],
) -> None:
    """Send by a changed form again, once a person has compared it with what we fill in.

    Example: tonglu oa resume flowable claim
    """
    _ask("POST", f"/tenants/{tenant}/templates/{template}/resume")
    console.print(f"{tenant} {template}")


_CASE = ("id", "tenant", "business_key", "drift", "detail", "detected_at")


def _show_cases(cases: Sequence[Mapping[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        show(cases, output)
        return
    show([{name: case[name] for name in _CASE} for case in cases], output)
    for case in cases:
        ours, theirs = case["ours"], case["theirs"]
        sides = [
            {"": name, "Tonglu": ours.get(name), case["tenant"]: theirs.get(name)}
            for name in dict.fromkeys([*ours, *theirs])
        ]
        if sides:
            show(sides, output, title=str(case["id"]))


def _health(tenant: Mapping[str, Any]) -> dict[str, Any]:
    """One line about an OA that says yes or no."""
    paused = [form["name"] for form in tenant["templates"] if form["paused"]]
    trouble = [
        tenant["error"],
        f"degraded: {tenant['detail']}" if tenant["degraded"] else None,
        f"paused: {', '.join(paused)}" if paused else None,
        "nobody works for it: no process of oa-connector runs its loops"
        if tenant["unattended"]
        else None,
        f"breaker {tenant['breaker']}" if tenant["breaker"] != "closed" else None,
    ]
    said = "; ".join(str(one) for one in trouble if one)
    return {
        "tenant": tenant["tenant"],
        "ok": "no" if said else "yes",
        "version": tenant["version"],
        "checked_at": tenant["checked_at"],
        "trouble": said,
    }
