"""Print the contracts out under docs/contracts/, check that they are fresh, and keep releases.

python -m events.printouts write | check | release VERSION
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from events import asyncapi, catalogue
from events.compatibility import contracts
from events.event import Event, event_classes, topics
from events.kafka_topics import topic_specs

JsonObject = dict[str, Any]

MEMBER = Path(__file__).parents[2]
EXAMPLES = MEMBER / "examples"
CONTRACTS = MEMBER.parents[1] / "docs" / "contracts"
RELEASED = "released"  # below CONTRACTS: written once per release, never printed out again


def examples() -> dict[str, JsonObject]:
    """The golden example of every event: its headers and its value.

    Raises:
        ValueError: an event has none.
    """
    for cls in event_classes():
        if not (EXAMPLES / f"{cls.TYPE}.json").exists():
            raise ValueError(
                f"{cls.__name__} has no golden example: write libs/events/examples/{cls.TYPE}.json"
            )
    return {
        cls.TYPE: json.loads((EXAMPLES / f"{cls.TYPE}.json").read_text(encoding="utf-8"))
        for cls in event_classes()
    }


def print_outs(golden: Mapping[str, JsonObject]) -> dict[str, str]:
    """Every file below docs/contracts/ with its content; the same input gives the same bytes."""
    files = {
        "README.md": catalogue.index(),
        "asyncapi.json": _json(asyncapi.document(version("tonglu-events"), golden)),
        "topics.json": _json([asdict(spec) for spec in topic_specs()]),
    }
    files |= {f"schemas/{cls.TYPE}.json": _json(schema(cls)) for cls in event_classes()}
    files |= {f"topics/{topic.name}.md": catalogue.page(topic, golden) for topic in topics()}
    return files


def schema(cls: type[Event]) -> JsonObject:
    """The JSON Schema of an event's value."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tonglu:event:{cls.TYPE}",
        **cls.model_json_schema(mode="serialization"),
    }


def write(folder: Path = CONTRACTS) -> None:
    """Make the folder equal to the print-outs; releases are left alone."""
    files = print_outs(examples())
    for name in _present(folder) - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def stale(folder: Path = CONTRACTS) -> list[str]:
    """One sentence for each file that is missing, out of date, or no longer printed out."""
    files = print_outs(examples())
    present = _present(folder)
    problems = [f"{name}: missing" for name in files.keys() - present]
    problems += [f"{name}: nothing prints it out any more" for name in present - files.keys()]
    problems += [
        f"{name}: out of date"
        for name in files.keys() & present
        if (folder / name).read_text(encoding="utf-8") != files[name]
    ]
    return sorted(problems)


def release(number: str, folder: Path = CONTRACTS) -> None:
    """Keep the present contracts and examples for ever, as that version.

    Raises:
        ValueError: the number is not like 1.2.3, or that version is released already.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", number):
        raise ValueError(f"{number!r} is not a version: write it like 1.2.3")
    target = folder / RELEASED / number
    if target.exists():
        raise ValueError(f"{number} is released already and stays as it is: choose the next number")
    target.mkdir(parents=True)
    (target / "contracts.json").write_text(_json(contracts()), encoding="utf-8")
    (target / "examples.json").write_text(_json(examples()), encoding="utf-8")


def _present(folder: Path) -> set[str]:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(f"{RELEASED}/")}


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _check() -> int:
    problems = stale()
    for problem in problems:
        print(f"docs/contracts/{problem}; run: make print-outs", file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m events.printouts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write docs/contracts/")
    commands.add_parser("check", help="status 1 and a list when docs/contracts/ is not fresh")
    commands.add_parser("release", help="keep the present contracts").add_argument("version")
    asked = parser.parse_args()
    try:
        if asked.command == "check":
            return _check()
        write() if asked.command == "write" else release(asked.version)
    except ValueError as refusal:
        print(refusal, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
