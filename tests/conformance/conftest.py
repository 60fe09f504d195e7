"""One suite over every OA that is plugged in, and the table of what each can do."""

import importlib.util
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from rich.table import Table

_HERE = Path(__file__).parent
sys.path.append(str(_HERE))  # the tests are no package, and share kit.py
from kit import Absent, Rig  # noqa: E402 -- after the path is known

_SECONDS = 900  # a first run installs an OA and compiles its pages
_MARKS = {"passed": "✓", "skipped": "—", "error": "✗ failed", "failed": "✗ failed"}


def _plug_ins() -> dict[str, ModuleType]:
    """Those of this folder, and the files that OA_ADAPTERS names; OA_ONLY picks by name."""
    files = sorted(_HERE.glob("adapter_*.py"))
    files += [Path(one) for one in os.environ.get("OA_ADAPTERS", "").split(os.pathsep) if one]
    only = [one for one in os.environ.get("OA_ONLY", "").split(",") if one]
    found = {file.stem.removeprefix("adapter_"): file for file in files}
    return {name: _loaded(file) for name, file in found.items() if not only or name in only}


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oa_plug_in_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_PLUG_INS = _plug_ins()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conformance(zh, en): one row of the table")


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One OA at a time, on one worker: some are slow, and each is a server."""
    for item in items:
        row = item.get_closest_marker("conformance")
        if row is not None and item.path.parent == _HERE:
            item.add_marker(pytest.mark.xdist_group("conformance"))
            item.add_marker(pytest.mark.timeout(_SECONDS))
            name = item.callspec.params["rig"]  # type: ignore[attr-defined]
            item.user_properties.append(("conformance", [name, *row.args]))


@pytest.fixture(scope="session", params=sorted(_PLUG_INS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    plug_in = _PLUG_INS[request.param]
    reason = plug_in.missing()
    if reason is not None:
        pytest.skip(reason)
    async with plug_in.opened() as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """What an OA does not have is shown in the table and is no failure."""
    try:
        return (yield)
    except Absent as absent:
        pytest.skip(f"not in this OA: {absent}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One row for each test, in their order; a row with one failure has failed."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    places: dict[tuple[str, str], int] = {}
    for outcome, mark in _MARKS.items():
        for report in terminalreporter.stats.get(outcome, []):
            for kind, value in getattr(report, "user_properties", ()):
                if kind in {"conformance", "says"}:
                    name, zh, en, *said = value
                    rows.setdefault((zh, en), {})[name] = said[0] if said else mark
                    places.setdefault((zh, en), report.location[1])
    if not rows:
        return
    table = Table(title="OA 适配器一致性 · Conformance of the OA adapters")
    names = sorted({name for cells in rows.values() for name in cells})
    for heading in ("能力", "capability", *names):
        table.add_column(heading, overflow="fold")
    for zh, en in sorted(rows, key=places.__getitem__):
        table.add_row(zh, en, *(rows[zh, en].get(name, "") for name in names))
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    terminalreporter.write("\n" + captured.get())
