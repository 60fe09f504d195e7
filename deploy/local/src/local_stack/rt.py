"""Request Tracker 5 as Debian packages it: a second real OA, for tests of the HTTP profile."""

import hashlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from local_stack.places import CACHE
from local_stack.process import Process

PACKAGES = ("request-tracker5", "rt5-db-sqlite", "rt5-standalone")
_SERVER = Path("/usr/share/request-tracker5/libexec/rt-server")
_SETUP = "/usr/sbin/rt-setup-database-5"
_SECONDS = 120


def missing() -> str | None:
    """Why Request Tracker cannot run here; None when it can. Root with apt installs it."""
    if _SERVER.exists():
        return None
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return f"Request Tracker is not installed ({' '.join(PACKAGES)}), and only root can"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "install", "-y", "-q", "--no-install-recommends", *PACKAGES]
    for command in ([apt, "update", "-q"], install):
        done = subprocess.run(  # noqa: S603 -- the command is ours
            command, env=quiet, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return f"{' '.join(command)}: {done.stderr.strip()[-300:]}"
    return None if _SERVER.exists() else f"{_SERVER} is not there although its package is"


def server(folder: Path, port: int, data: Path) -> Process:
    """One server on a database of its own with `data` (RT's initialdata format) in it.

    The callbacks of `data` read their address and secret from `folder/callback`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "rt.sqlite"
    if not database.exists():
        shutil.copyfile(_prepared(data), database)
    return Process(
        name="request-tracker",
        command=[str(_SERVER), "--host", "127.0.0.1", "--port", str(port)],
        ready=_answers(f"http://127.0.0.1:{port}/REST/2.0/rt"),
        env={**_site(folder, port), "TONGLU_CALLBACK_FILE": str(folder / "callback")},
        cwd=folder,
        deadline_seconds=180,  # its first start compiles its pages
        provides={"RT_URL": f"http://127.0.0.1:{port}"},
    )


def _prepared(data: Path) -> Path:
    """The database with `data`, made once for each content of it: that takes seconds."""
    mark = hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    ready = CACHE / "request-tracker" / mark / "rt.sqlite"
    if ready.exists():
        return ready
    draft = ready.parent / f"draft-{uuid.uuid4().hex[:8]}"
    draft.mkdir(parents=True)
    env = _site(draft, 80)
    _run([_SETUP, "--action", "init", "--skip-create"], env)
    _run([_SETUP, "--action", "insert", "--datafile", str(data), "--skip-create"], env)
    (draft / "rt.sqlite").replace(ready)
    shutil.rmtree(draft)
    return ready


def _site(folder: Path, port: int) -> Mapping[str, str]:
    """Settings of its own instead of the machine's; returns the environment that names them."""
    settings = {
        "rtname": "oa.test",
        "Organization": "oa.test",
        "WebPath": "",
        "WebDomain": "127.0.0.1",
        "WebPort": str(port),
        "WebBaseURL": f"http://127.0.0.1:{port}",
        "DatabaseType": "SQLite",
        "DatabaseName": str(folder / "rt.sqlite"),
        "MasonDataDir": str(folder / "mason"),
        "MasonSessionDir": str(folder / "sessions"),
        "LogToSTDERR": "info",
        "Timezone": "UTC",
    }
    lines = [f"Set(${name}, '{value}');" for name, value in settings.items()]
    site = folder / "site"
    for part in (site, folder / "mason", folder / "sessions"):
        part.mkdir(exist_ok=True)
    off = ["Set($LogToSyslog, undef);", "Set($MailCommand, sub { return 1 });", "1;", ""]
    (site / "RT_SiteConfig.pm").write_text("\n".join([*lines, *off]))
    return {"RT_SITE_CONFIG_DIR": str(site), "RT_SITE_CONFIG": str(site / "RT_SiteConfig.pm")}


def _run(command: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 -- the command is ours
        command,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def _answers(url: str) -> Callable[[], Awaitable[None]]:
    """Ready when it asks who we are."""

    async def probe() -> None:
        async with httpx.AsyncClient(timeout=5.0) as http:
            reply = await http.get(url)
        if reply.status_code != httpx.codes.UNAUTHORIZED:
            raise RuntimeError(f"{url}: {reply.status_code}")

    return probe
