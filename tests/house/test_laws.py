"""What no linter knows: SQL only in stores, no call inside a transaction, rooms, sizes, readers.

Each check is a function that lists what breaks it, tried on the house and on a small crime.
"""

import ast
import importlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from events import Event, event_classes, topics
from events.directory import DepartmentUpdated, EmployeeUpdated

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {
    folder.name: folder.name.replace("-", "_")
    for folder in sorted((ROOT / "services").iterdir())
    if folder.is_dir()
}
SQL_CALLS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table"}
MAX_FUNCTION, MAX_MODULE = 30, 400
HEADINGS = ("## Owns", "## Emits", "## Listens", "## Tables", "## How to run")


def product_modules() -> list[Path]:
    found = []
    for pattern in ("libs/*/src", "services/*/src", "cli/src", "deploy/local/src"):
        for source in ROOT.glob(pattern):
            found += sorted(source.rglob("*.py"))
    return found


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def service_modules() -> list[Path]:
    return [path for path in product_modules() if "services" in path.parts]


def sql_outside_stores(path: Path, tree: ast.Module) -> Iterator[str]:
    """Only `store` writes SQL."""
    if path.stem == "store" or "store" in path.parts:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = ast.unparse(node.func.value)
            if node.func.attr in SQL_CALLS and re.search(r"\b(tx|connection|pool)$", receiver):
                yield f"{path.name}:{node.lineno} {receiver}.{node.func.attr}"


def commits_outside_chassis(path: Path, tree: ast.Module) -> Iterator[str]:
    """Only chassis opens connections and commits; a store may name an error of the database."""
    in_store = path.stem == "store" or "store" in path.parts
    for node in ast.walk(tree):
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if is_import and "asyncpg" in ast.unparse(node) and not in_store:
            yield f"{path.name}:{node.lineno} imports asyncpg"
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "rollback"}:
            yield f"{path.name}:{node.lineno} {ast.unparse(node)}"


def calls_outside_inside_transaction(path: Path, tree: ast.Module) -> Iterator[str]:
    """No network call inside a transaction: it awaits only stores, handlers and its tx."""
    allowed = re.compile(
        r"^(store|handlers|tx|[a-z_]+_store|[a-z_]+_handlers)\b|^failpoint\(|^effect\("
    )
    for node in ast.walk(tree):
        if not isinstance(node, ast.AsyncWith):
            continue
        if not any(".transaction(" in ast.unparse(item.context_expr) for item in node.items):
            continue
        for inner in ast.walk(ast.Module(body=node.body, type_ignores=[])):
            if not isinstance(inner, ast.Await) or _is_local_step(inner, tree):
                continue
            if not allowed.match(said := ast.unparse(inner.value)):
                yield f"{path.name}:{inner.lineno} awaits {said[:60]}"


def _is_local_step(node: ast.Await, tree: ast.Module) -> bool:
    """A call of a function of the same module that is handed the open `tx`."""
    call = node.value
    if not isinstance(call, ast.Call):
        return False
    name = ast.unparse(call.func).removeprefix("self.")
    defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)}
    return name in defined and any(ast.unparse(arg) == "tx" for arg in call.args)


def too_long(path: Path, tree: ast.Module) -> Iterator[str]:
    """A function fits a screen (30 lines, docstring not counted), a module one sitting (400)."""
    lines = len(path.read_text().splitlines())
    if lines > MAX_MODULE:
        yield f"{path.name}: {lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (length := body[-1].end_lineno - body[0].lineno + 1) > MAX_FUNCTION:
                yield f"{path.name}:{node.lineno} {node.name} has {length} lines"


def floats_near_money(path: Path, tree: ast.Module) -> Iterator[str]:
    """No float touches money: a domain that knows Decimal or Money makes no float."""
    if "domain" not in path.parts and path.stem != "domain":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{path.name}:{node.lineno} {node.value}"
        if isinstance(node, ast.Name) and node.id == "float":
            yield f"{path.name}:{node.lineno} float"


def swallowed_exceptions(path: Path, tree: ast.Module) -> Iterator[str]:
    """An exception is answered, never dropped."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(n, ast.Pass) for n in node.body):
            yield f"{path.name}:{node.lineno}"


Check = Callable[[Path, ast.Module], Iterator[str]]
CHECKS: dict[Check, tuple[Callable[[], list[Path]], str, str]] = {
    sql_outside_stores: (service_modules, "handlers.py", "async def f(tx): await tx.execute('x')"),
    commits_outside_chassis: (service_modules, "api.py", "import asyncpg"),
    calls_outside_inside_transaction: (
        service_modules,
        "delivery.py",
        "async def f(db, oa):\n  async with db.transaction() as tx:\n    await oa.submit(tx)",
    ),
    too_long: (product_modules, "long.py", "def f():\n" + "    x = 1\n" * 31),
    floats_near_money: (product_modules, "domain.py", "limit = 1.5"),
    swallowed_exceptions: (product_modules, "any.py", "try:\n  f()\nexcept ValueError:\n  pass"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_house_keeps(check: Check) -> None:
    modules, _, _ = CHECKS[check]
    broken = [
        f"{path.relative_to(ROOT).parent}/{said}"
        for path in modules()
        for said in check(path, ast.parse(path.read_text()))
    ]
    assert not broken, f"{check.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_check_bites(check: Check, tmp_path: Path) -> None:
    _, name, crime = CHECKS[check]
    path = tmp_path / name
    path.write_text(crime)
    assert list(check(path, ast.parse(crime)))


def subscribed(service: str) -> set[type[Event]]:
    table = importlib.import_module(f"{SERVICES[service]}.consumer").SUBSCRIPTIONS
    return {event for line in table for event in line.events}


def strays(readers: dict[str, set[str]], subscriptions: dict[str, set[str]]) -> list[str]:
    """Declared readers that do not subscribe, and subscribers that no topic declares."""
    missing = [f"{r} reads {t} but does not subscribe" for t, rs in readers.items() for r in rs
               if t not in subscriptions.get(r, set())]  # fmt: skip
    secret = [f"{s} subscribes to {t} unannounced" for s, ts in subscriptions.items() for t in ts
              if s not in readers[t]]  # fmt: skip
    return missing + secret


def test_every_declared_reader_subscribes_and_the_reverse() -> None:
    readers = {topic.name: set(topic.readers) for topic in topics()}
    subscriptions = {
        service: {event.TOPIC.name for event in subscribed(service)}
        for service in SERVICES
        if (ROOT / "services" / service / "src" / SERVICES[service] / "consumer.py").exists()
    }
    assert strays(readers, subscriptions) == []


def test_a_secret_reader_and_a_deaf_one_are_both_found() -> None:
    found = strays({"a": {"x"}, "b": set()}, {"y": {"b"}})
    assert found == ["x reads a but does not subscribe", "y subscribes to b unannounced"]


def test_only_the_owner_emits_on_a_topic() -> None:
    owners = {cls.__name__: cls.TOPIC.owner for cls in event_classes()}
    for path in service_modules():
        service = path.relative_to(ROOT / "services").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (owner := owners.get(ast.unparse(node.func))):
                assert owner == service, f"{path.name}:{node.lineno} makes an event of {owner}"


def test_directory_topics_alone_carry_personal_data() -> None:
    personal = {topic.name for topic in topics() if topic.pii == "personal"}
    assert personal == {EmployeeUpdated.TOPIC.name}
    assert DepartmentUpdated.TOPIC.pii != "personal"


@pytest.mark.parametrize("service", SERVICES)
def test_service_readme_has_its_five_headings(service: str) -> None:
    text = (ROOT / "services" / service / "README.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")][:5] == list(HEADINGS)


def test_no_package_marker_stands_under_tests() -> None:
    assert not [path for path in tracked("*__init__.py") if "tests" in path.parts]


def test_locks_and_texts_name_no_registry() -> None:
    for path in tracked("*.lock", "*package-lock.json", "*.xml", "*.md", "*.py", "*.mjs", "*.js"):
        text = path.read_text()
        assert '"resolved"' + ":" not in text, path
        assert not re.search(r"https?://\S*(pypi\.|npmjs\.|maven\.org)", text), path
