"""The import laws hold, and each of them bites when it is broken on purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = (
    "libs/events",
    "libs/chassis",
    "services/claims",
    "services/workflow",
    "services/oa-connector",
    "services/directory-sync",
    "services/notifier",
)

CRIMES = {
    "a service imports another": (
        "workflow/directory/domain.py",
        "import claims",
        "Services are independent",
    ),
    "chassis knows a service": ("chassis/words.py", "import notifier", "Services are independent"),
    "events lean on chassis": ("events/ids.py", "import chassis.words", "Services are independent"),
    "a store reaches up to its handlers": (
        "notifier/store.py",
        "from notifier import handlers",
        "each room knows only",
    ),
    "an unknown room appears": ("notifier/utils.py", "", "each room knows only"),
    "a subject reaches up": (
        "claims/claim/store.py",
        "from claims.claim import api",
        "each subject has the same rooms",
    ),
    "a definition knows its approvals": (
        "workflow/definition/handlers.py",
        "from workflow.approval import domain",
        "Workflow is composed at the top",
    ),
    "a calendar does I/O": (
        "workflow/calendar/domain.py",
        "import asyncpg",
        "Domains and contracts do no",
    ),
    "claim knows payment": (
        "claims/claim/handlers.py",
        "from claims.payment import domain",
        "Claims is composed at the top",
    ),
    "a domain does I/O": ("oa_connector/domain.py", "import httpx", "Domains and contracts do no"),
    "a service speaks Kafka": (
        "directory_sync/handlers.py",
        "import aiokafka",
        "Only chassis speaks Kafka",
    ),
    "Faust has an effect": ("notifier/handlers.py", "import faust", "Faust lives in streams alone"),
}


def lint(sources: list[Path], workdir: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sources))}
    return subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--config",
            ROOT / ".importlinter",
            "--no-cache",
        ],
        cwd=workdir,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_house_keeps_its_laws(tmp_path: Path) -> None:
    found = lint([ROOT / member / "src" for member in MEMBERS], tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("house")
    copies = []
    for member in MEMBERS:
        copy = folder / member / "src"
        shutil.copytree(ROOT / member / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        copies.append(copy)
    return copies


@pytest.mark.parametrize("crime", CRIMES)
def test_law_bites_when(crime: str, copied: list[Path], tmp_path: Path) -> None:
    file, line, law = CRIMES[crime]
    source = next(source for source in copied if (source / file).parent.is_dir())
    victim = source / file
    before = victim.read_text() if victim.exists() else None
    victim.write_text(f"{before or ''}\n{line}\n")
    try:
        found = lint(copied, tmp_path)
    finally:
        if before is None:
            victim.unlink()
        else:
            victim.write_text(before)
    assert found.returncode != 0
    assert any(law in row and "BROKEN" in row for row in found.stdout.splitlines()), found.stdout
