"""Definitions as text: read YAML or JSON with the place of each fault, and write YAML."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

import yaml
from msgspec import Struct
from pydantic import ValidationError

from workflow.definition.domain.condition import ConditionInvalid
from workflow.definition.domain.definition import Definition, PartsDisagree
from workflow.definition.domain.names import Place

_MAX_TEXT = 100_000  # what is read in a second
_Path = tuple[str | int, ...]


class Fault(Struct, frozen=True):
    """A rule that a definition breaks: its field, its place in the text, and the way out."""

    field: str  # as in /steps/0/when
    place: Place
    zh: str
    en: str


class Imported(Struct, frozen=True):
    """A version with when it came, and who brought it; None: it stood in the folder at start."""

    definition: Definition
    at: datetime
    by: str | None


class DefinitionInvalid(ValueError):
    """A definition breaks rules; the message names the place, the field and the rule of each."""

    def __init__(self, said: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(said)
        self.faults = tuple(faults)

    @classmethod
    def by(cls, *faults: Fault) -> Self:
        """Refused for these faults."""
        said = (
            f"line {one.place.line}, column {one.place.column}: {one.field}: {one.en}"
            for one in faults
        )
        return cls("; ".join(said), faults)


class DefinitionChanged(ValueError):
    """A definition contradicts one that was imported before it."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


_ZH = {
    "missing": "必填，请补充",
    "extra_forbidden": "不认识的字段，请删除",
    "string_pattern_mismatch": "格式应为 {pattern}",
    "literal_error": "应为其中之一：{expected}",
    "enum": "应为其中之一：{expected}",
    "greater_than": "必须大于 {gt}",
    "greater_than_equal": "不得小于 {ge}",
    "less_than": "必须小于 {lt}",
    "less_than_equal": "不得大于 {le}",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "too_short": "至少 {min_length} 项",
    "too_long": "最多 {max_length} 项",
}


def parse_definition(text: str) -> Definition:
    """Read one definition, written in YAML; JSON is YAML too.

    Raises:
        DefinitionInvalid: it breaks a rule, or a condition in it does.
    """
    node, content = _load(text)
    try:
        return Definition.model_validate(content)
    except ValidationError as error:
        raise DefinitionInvalid.by(*_faults(error, text, node)) from error


def _load(text: str) -> tuple[yaml.Node | None, Any]:
    if len(text) > _MAX_TEXT:
        zh, en = f"超过 {_MAX_TEXT} 个字符", f"is over {_MAX_TEXT} characters"
        raise DefinitionInvalid.by(Fault("/", Place(1, 1), zh, en))
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _refuse_twice(node, set())
        return node, loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise _not_yaml(place, str(error.problem)) from error
    except RecursionError as error:
        raise _not_yaml(Place(1, 1), "nested too deeply") from error
    except (yaml.YAMLError, AttributeError, LookupError, ValueError) as error:
        if isinstance(error, DefinitionInvalid):
            raise
        # What PyYAML says of a character that is not allowed, or of a date that does not exist.
        raise _not_yaml(Place(1, 1), str(error)) from error


def write_definition(definition: Definition) -> str:
    """YAML that reads as the same definition again."""
    content = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


@lru_cache(maxsize=256)
def stored_definition(text: str) -> Definition:
    """A definition as we keep it: read, and its conditions compiled, once in a process."""
    return Definition.model_validate_json(text)


def storable(definition: Definition) -> str:
    return definition.model_dump_json(by_alias=True, exclude_defaults=True)


def _not_yaml(place: Place, said: str) -> DefinitionInvalid:
    return DefinitionInvalid.by(Fault("/", place, f"不是合法的 YAML：{said}", f"not YAML: {said}"))


def _refuse_twice(node: yaml.Node | None, seen: set[int]) -> None:
    """YAML lets the last of two equal keys win in silence; what stands twice is an oversight.

    `seen`: nodes that were looked at; an alias leads back to one.
    """
    if node is None or id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(item, seen)
        return
    passed: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in passed:
            twice = Fault(f"/{name}", _at(key), f"{name} 出现了两次", f"{name} stands twice")
            raise DefinitionInvalid.by(twice)
        passed.add(name)
        _refuse_twice(value, seen)


def _faults(error: ValidationError, text: str, root: yaml.Node | None) -> Iterator[Fault]:
    for one in error.errors():
        node, path = _find(root, one["loc"])
        field = _pointer(path)
        own = one.get("ctx", {}).get("error")
        if isinstance(own, ConditionInvalid):
            yield Fault(field, _inside(text, node, own.place), own.zh, own.en)
        elif isinstance(own, PartsDisagree):
            node, path = _find(root, (*one["loc"], own.field))
            yield Fault(_pointer(path), _at(node), own.zh, own.en)
        else:
            zh = _ZH.get(one["type"], "不符合要求（{en}）")
            zh = zh.format(en=one["msg"], **one.get("ctx", {}))
            yield Fault(field, _at(node), zh, one["msg"])


def _pointer(path: _Path) -> str:
    return "/" + "/".join(str(part) for part in path)


def _find(root: yaml.Node | None, loc: _Path) -> tuple[yaml.Node | None, _Path]:
    """The nearest node to what pydantic names, whose path also holds names of types."""
    node = root
    path: _Path = ()
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            below = {str(key.value): value for key, value in node.value}.get(str(part))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            below = node.value[part] if part < len(node.value) else None
        else:
            below = None
        if below is not None:
            node, path = below, (*path, part)
    missing = loc[-1:] if loc and loc[-1] not in path and isinstance(node, yaml.MappingNode) else ()
    return node, (*path, *missing)


def _at(node: yaml.Node | None) -> Place:
    if node is None:
        return Place(1, 1)
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _inside(text: str, node: yaml.Node | None, place: Place) -> Place:
    """A place within a condition, as a place in the text that the condition stands in."""
    start = _at(node)
    if not isinstance(node, yaml.ScalarNode) or place.line > len(node.value.splitlines()):
        return start
    said = node.value.splitlines()[place.line - 1]
    lines = text.splitlines()
    for number in range(start.line, node.end_mark.line + 2):
        offset = lines[number - 1].find(said) if number <= len(lines) else -1
        if offset >= 0:
            return Place(number, offset + place.column)
    return start
