"""`tonglu demo`: the whole company on this machine, and one claim along the whole road."""

import asyncio
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from local_stack.pkce import sign_in
from local_stack.places import CHECKOUT
from local_stack.process import Process
from local_stack.stack import Stack
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from tonglu import topology
from tonglu.company import Company
from tonglu.oa_people import OAPerson
from tonglu.output import Exit, console
from tonglu.road import Hop, Road, follow
from tonglu.site import FOLDER, RefusedError, Site

SUBMITTER, MANAGER, FINANCE = "E1001", "E1002", "E1003"
DEFINITION = "travel-claim"
_ROAD_SECONDS = 180.0
_TASK_SECONDS = 60.0

CLAIM = {
    "title": "上海客户拜访 / Client visit, Shanghai",
    "lines": [
        {
            "category": "train",
            "spent_on": "2026-11-18",
            "city": "上海",
            "amount": {"amount": "553.00", "currency": "CNY"},
        },
        {
            "category": "hotel",
            "spent_on": "2026-11-18",
            "city": "上海",
            "amount": {"amount": "480.00", "currency": "CNY"},
        },
        {
            "category": "taxi",
            "spent_on": "2026-11-19",
            "city": "上海",
            "amount": {"amount": "86.50", "currency": "CNY"},
        },
    ],
}


class StoppedError(RuntimeError):
    """The road did not reach its end; the message says where it stopped."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the claim is decided. `manual`: by the person who watches."""

    manual: bool = False
    mirrored: bool = False  # in either system; else in the OA's own process

    @property
    def mode(self) -> str:
        return "mirrored" if self.mirrored else "delegated"


@dataclass(slots=True)
class StartUp:
    """What the start shows: one line per part, with what it is doing and since when."""

    began: float = field(default_factory=time.monotonic)
    parts: dict[str, tuple[str, float]] = field(default_factory=dict)
    live: Live | None = None

    def say(self, name: str, words: str) -> None:
        self.parts[name] = (words, time.monotonic() - self.began)
        if self.live is not None:
            self.live.update(self.table())
        elif not console.is_terminal and words in {"ready", "starting"}:
            console.print(f"{time.monotonic() - self.began:6.1f} s  {name:<22} {words}")

    def table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, (words, seconds) in self.parts.items():
            mark = "[green]●[/green]" if words == "ready" else "[yellow]◌[/yellow]"
            table.add_row(mark, name, words, f"[dim]{seconds:5.1f} s[/dim]")
        return table


async def start(*, with_finance: bool) -> tuple[Stack, Company]:
    """Everything up, with its progress shown."""
    show = StartUp()
    stack, people = topology.open_stack(FOLDER, show.say)
    if console.is_terminal:
        with Live(show.table(), console=console, transient=True, refresh_per_second=10) as live:
            show.live = live
            await start_processes(stack, people, with_finance=with_finance)
    else:
        await start_processes(stack, people, with_finance=with_finance)
    console.print(f"[dim]up in {time.monotonic() - show.began:.1f} s[/dim]")
    return stack, people


async def start_processes(stack: Stack, people: Company, *, with_finance: bool) -> None:
    """The servers, the five services and, if wanted, the finance system beside them."""
    services = topology.services(stack, people)

    def processes(provides: Mapping[str, str]) -> Sequence[Process]:
        found = list(services(provides))
        return [*found, _finance(stack, people, provides)] if with_finance else found

    await stack.up(services=processes)


def _finance(stack: Stack, people: Company, provides: Mapping[str, str]) -> Process:
    """A separate program that knows our events and our API, and nothing else of ours."""
    return Process(
        name="finance-subscriber",
        command=(sys.executable, str(CHECKOUT / "examples/finance-subscriber/subscriber.py")),
        env={
            "KAFKA_BOOTSTRAP_SERVERS": provides["KAFKA_BOOTSTRAP_SERVERS"],
            "OIDC_ISSUER": provides["OIDC_ISSUER"],
            "CLAIMS_URL": f"http://127.0.0.1:{stack.port('claims')}",
            "CLIENT_ID": "finance-subscriber",
            "CLIENT_SECRET": people.secrets.clients["finance-subscriber"],
            "LEDGER": str(stack.folder / "ledger.sqlite"),
            "PYTHONUNBUFFERED": "1",
        },
        ready=topology.at_once,
        after=("claims", "kafka"),
    )


async def run(way: Way, *, once: bool) -> int:
    """Start, drive, show; the exit status."""
    try:
        stack, people = await start(with_finance=True)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the person must read it
        console.print(f"[red]start failed:[/red] {error}")
        return Exit.FAILED
    status = Exit.OK
    try:
        await drive(Site(), people, way)
    except (StoppedError, RefusedError, httpx.HTTPError) as stopped:
        console.print(f"[red]{type(stopped).__name__}: {stopped}[/red]")
        console.print(f"logs: {stack.folder / 'logs'}")
        status = Exit.FAILED
    if once:
        await stack.down()
        return status
    _show_addresses(stack, people)
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        await stack.watch()
    await stack.down()
    return status


async def drive(site: Site, people: Company, way: Way) -> Road:
    """One claim from the draft to the money.

    Raises:
        StoppedError: the money did not arrive in time.
    """
    await _load_company(site)
    await define(site, way.mode)
    token = await sign_in(site.address("OIDC_ISSUER"), SUBMITTER, people.secrets.password)
    draft = await site.call("claims", "POST", "/api/claims", token=token, json=CLAIM)
    road = Road(str(draft["id"]), SUBMITTER)
    watching = asyncio.Event()
    watch = asyncio.create_task(_watch(site, road, watching, patient=way.manual))
    await watching.wait()
    await site.call(
        *("claims", "POST", f"/api/claims/{road.claim_id}/submit"),
        token=token,
        headers={"idempotency-key": str(uuid.uuid4())},
    )
    decide = None if way.manual else asyncio.create_task(_decide(site, people, road, way))
    if way.manual:
        _ask_person(site, people, way)
    try:
        await watch
    finally:
        if decide is not None:
            decide.cancel()
            await asyncio.gather(decide, return_exceptions=True)
    return road


async def _load_company(site: Site) -> None:
    plan = await site.call("directory-sync", "POST", "/api/directory/plan")
    await site.call(
        *("directory-sync", "POST", "/api/directory/apply"),
        json={"digest": plan["digest"]},
        headers={"idempotency-key": str(uuid.uuid4())},
    )


async def define(site: Site, mode: str) -> None:
    """Let claims be approved in this mode from now on: a new version, unless it is so already."""
    path = f"/api/definitions/{DEFINITION}"
    found = await site.call("workflow", "GET", path)
    if found["mode"] == mode:
        return
    new = found | {"mode": mode, "version": int(str(found["version"])) + 1}
    new.pop("tenant", None)
    if mode != "native":
        new["tenant"] = topology.TENANT
    await site.call("workflow", "PUT", path, json=new)


async def _decide(site: Site, people: Company, road: Road, way: Way) -> None:
    """The manager in the OA; finance there too, or in Tonglu's inbox where both are open."""
    password = people.secrets.password
    manager = OAPerson(site.address("FLOWABLE_URL"), MANAGER, password)
    await manager.decide(road.claim_id, "approve", "同意，行程属实")
    finance = OAPerson(site.address("FLOWABLE_URL"), FINANCE, password)
    if way.mirrored:
        await finance.sees(road.claim_id)
        await _decide_here(site, FINANCE, password, road.claim_id)
    else:
        await finance.decide(road.claim_id, "approve", "票据齐全，同意付款")


async def _decide_here(site: Site, person: str, password: str, claim_id: str) -> None:
    """Wait until the task is in this person's inbox, then approve what it shows."""
    token = await sign_in(site.address("OIDC_ISSUER"), person, password)
    async with asyncio.timeout(_TASK_SECONDS):
        task = await _my_task(site, token, claim_id)
    await site.call(
        *("workflow", "POST", f"/api/tasks/{task['task_id']}/decide"),
        token=token,
        json={"decision": "approve", "content_hash": task["content_hash"]},
        headers={"idempotency-key": str(uuid.uuid4())},
    )


async def _my_task(site: Site, token: str, claim_id: str) -> dict[str, str]:
    while True:
        page = await site.call("workflow", "GET", "/api/tasks", token=token, params={"limit": 200})
        tasks: list[dict[str, str]] = page["items"]  # type: ignore[assignment]
        for task in tasks:
            if task["document_id"] == claim_id:
                return task
        await asyncio.sleep(0.1)


async def _watch(site: Site, road: Road, watching: asyncio.Event, *, patient: bool) -> None:
    table = _hop_table()
    try:
        with Live(table, console=console, auto_refresh=False) as live:
            async with asyncio.timeout(None if patient else _ROAD_SECONDS):
                bootstrap = site.address("KAFKA_BOOTSTRAP_SERVERS")
                async for hop in follow(bootstrap, road, ready=watching):
                    _add_row(table, hop)
                    live.update(table, refresh=True)
                    if road.told():
                        break
    except TimeoutError:
        last = road.hops[-1].type if road.hops else "nothing"
        raise StoppedError(
            f"The road stopped after {last}; still missing: {', '.join(road.missing())}"
        ) from None
    if not console.is_terminal:
        console.print()  # the live table leaves a pipe on its last row
    seconds = (road.hops[-1].envelope.time - road.started).total_seconds()
    console.print(
        f"[green]已到账，本人已知晓 · paid, and told[/green]"
        f"  {len(road.hops)} hops in {seconds:.1f} s"
    )


def _hop_table() -> Table:
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("发生了什么", "event", "topic", "p/offset", "event id"):
        table.add_column(column, no_wrap=True)
    table.add_column("+ms", justify="right")
    return table


def _add_row(table: Table, hop: Hop) -> None:
    table.add_row(
        f"{hop.words} [dim]{hop.detail}[/dim]",
        hop.type.removesuffix(".v1"),
        hop.topic,
        f"{hop.partition}/{hop.offset}",
        f"[dim]{str(hop.envelope.id)[-12:]}[/dim]",
        f"{hop.millis:.0f}",
    )


def _ask_person(site: Site, people: Company, way: Way) -> None:
    either = (
        f"\n{site.address('WORKFLOW_URL')}/api/tasks   或在此 · or here" if way.mirrored else ""
    )
    console.print(
        Panel(
            f"现在轮到你：打开 OA 页面，先以 {MANAGER}、再以 {FINANCE} 登录并同意。\n"
            f"Your turn: open the OA's page, approve as {MANAGER}, then as {FINANCE}.\n\n"
            f"{site.address('FLOWABLE_URL')}/   密码 password: {people.secrets.password}{either}",
            title="OA",
        )
    )


def _show_addresses(stack: Stack, people: Company) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    notes = {"flowable": "the OA's page and REST / OA 页面"}
    for one in stack.status():
        for name, value in one.provides.items():
            table.add_row(f"[bold]{one.name}[/bold]", name, value, notes.get(one.name, ""))
    table.add_row("people", "E1001 … ", f"password {people.secrets.password}", "")
    table.add_row("[bold]logs[/bold]", "", str(stack.folder / "logs"), "")
    console.print(Panel(table, title="同路 Tonglu · Ctrl-C or `make down` stops everything"))
