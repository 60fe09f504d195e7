"""The gate between releases: contracts may grow, and nothing else.

Old records are replayed by new code and new records are read by old code, so the one safe change is
an optional addition. `python -m events.compatibility` compares with the newest release.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from events.event import event_classes, topics

JsonObject = dict[str, Any]

RELEASED = Path(__file__).parents[4] / "docs" / "contracts" / "released"
# Words for people, and the parts that are compared on their own. All else is a rule for values.
_NO_RULE = {"title", "description", "examples", "$defs"}
_COMPARED_APART = {"properties", "required", "items", "x-extensible-enum"}
_NEVER_CHANGED = {
    "key": "the order of its history",
    "partitions": "the partition of every key",
    "cleanup": "what its readers may expect to find",
}


def contracts() -> JsonObject:
    """The present contracts as plain data: what a release keeps and the gate compares."""
    return {
        "topics": {
            topic.name: {
                "key": topic.key,
                "partitions": topic.partitions,
                "cleanup": topic.cleanup,
            }
            for topic in topics()
        },
        "events": {
            cls.TYPE: {
                "topic": cls.TOPIC.name,
                "schema": cls.model_json_schema(mode="serialization"),
            }
            for cls in event_classes()
        },
    }


def breaks(released: JsonObject, current: JsonObject) -> list[str]:
    """Every way in which `current` breaks `released`, a sentence each; empty when it only grew."""
    return [
        *_broken_topics(released["topics"], current["topics"]),
        *_broken_events(released["events"], current["events"]),
    ]


def _broken_topics(released: JsonObject, current: JsonObject) -> Iterator[str]:
    for name, before in released.items():
        after = current.get(name)
        if after is None:
            yield f"{name}: the topic is gone. Keep it as long as anyone reads it."
            continue
        for setting, meaning in _NEVER_CHANGED.items():
            if before[setting] != after[setting]:
                yield (
                    f"{name}: {setting} changed from {before[setting]} to {after[setting]}, which "
                    f"breaks {meaning}. Keep it, or declare a new topic beside it."
                )


def _broken_events(released: JsonObject, current: JsonObject) -> Iterator[str]:
    for type_, before in released.items():
        after = current.get(type_)
        if after is None:
            yield f"{type_}: the event is gone. Keep its class: old records are read for ever."
            continue
        if before["topic"] != after["topic"]:
            yield (
                f"{type_}: moved from topic {before['topic']} to {after['topic']}. "
                f"Keep it there, or publish {_next(type_)} on the new topic."
            )
        old, new = _inlined(before["schema"]), _inlined(after["schema"])
        for problem in _broken_schema("", old, new):
            yield f"{type_}: {problem}. Undo it, or publish {_next(type_)} beside it."


def _next(type_: str) -> str:
    stem, _, version = type_.rpartition(".v")
    return f"{stem}.v{int(version) + 1}"


def _broken_schema(where: str, before: JsonObject, after: JsonObject) -> Iterator[str]:
    yield from _changed_rules(where, before, after)
    yield from _removed_values(where, before, after)
    yield from _broken_fields(where, before, after)
    if "items" in before or "items" in after:
        yield from _broken_schema(f"{where}[]", before.get("items", {}), after.get("items", {}))


def _changed_rules(where: str, before: JsonObject, after: JsonObject) -> Iterator[str]:
    """Narrower refuses old records; wider sends what the readers of the old release refuse."""
    for rule in sorted((before.keys() | after.keys()) - _NO_RULE - _COMPARED_APART):
        old, new = before.get(rule, "none"), after.get(rule, "none")
        if old != new:
            yield f"field {where or 'of any name'}: {rule} changed from {old} to {new}"


def _removed_values(where: str, before: JsonObject, after: JsonObject) -> Iterator[str]:
    if "x-extensible-enum" in before:
        kept = after.get("x-extensible-enum", [])
        for value in before["x-extensible-enum"]:
            if value not in kept:
                yield f"field {where}: the value {value} was removed"
    elif "x-extensible-enum" in after:
        yield f"field {where}: any value was allowed, and now the others would become UNKNOWN"


def _broken_fields(where: str, before: JsonObject, after: JsonObject) -> Iterator[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    needed, needed_now = before.get("required", []), after.get("required", [])
    for name, schema in old.items():
        path = f"{where}.{name}".lstrip(".")
        if name not in new:
            yield f"field {path}: removed or renamed"
            continue
        if name in needed and name not in needed_now:
            yield f"field {path}: was required and may now be absent, which readers do not expect"
        if name not in needed and name in needed_now:
            yield f"field {path}: was optional and became required, which old records do not fulfil"
        yield from _broken_schema(path, schema, new[name])
    for name in needed_now:
        if name not in old:
            path = f"{where}.{name}".lstrip(".")
            yield f"field {path}: new and required, so no old record has it; give it a default"


def _inlined(schema: JsonObject) -> JsonObject:
    """The schema with every reference replaced by what it names, and `X or null` marked as such."""
    defs = schema.get("$defs", {})

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            beside = {name: value for name, value in part.items() if name != "$ref"}
            return inline(defs[part["$ref"].rpartition("/")[2]] | beside)
        if {"type": "null"} in part.get("anyOf", []) and len(part["anyOf"]) == 2:  # noqa: PLR2004
            choice = next(option for option in part["anyOf"] if option != {"type": "null"})
            beside = {name: value for name, value in part.items() if name != "anyOf"}
            return inline(choice | beside) | {"nullable": True}
        return {name: inline(value) for name, value in part.items() if name != "$defs"}

    inlined: JsonObject = inline(schema)
    return inlined


def newest_release(folder: Path) -> Path | None:
    """The folder of the highest released version, or None before the first release."""
    versions = [path for path in folder.glob("*") if path.is_dir()]
    return max(versions, key=lambda path: [int(n) for n in path.name.split(".")], default=None)


def main() -> int:
    newest = newest_release(RELEASED)
    if newest is None:
        print("nothing is released yet: everything may still change")  # noqa: T201
        return 0
    released = json.loads((newest / "contracts.json").read_text(encoding="utf-8"))
    problems = breaks(released, contracts())
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201
    if not problems:
        print(f"only additions since {newest.name}")  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
