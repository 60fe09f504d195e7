"""What we send: placeholders `${name}` in a tree of texts, and nothing that runs."""

import json
import re
from collections.abc import Mapping
from string import Template
from typing import Any

Values = Mapping[str, str | tuple[str, ...]]

_ALONE = re.compile(r"\$\{(\w+)\}")
_PLAIN = re.compile(r"[\w .:@+/-]*")


class UnsendableError(ValueError):
    """What this profile has no way to send; it is refused before anything leaves us."""


def names(tree: Any) -> frozenset[str]:
    """The placeholders in a tree.

    Raises:
        ValueError: a `$` that begins no placeholder; `$$` is a dollar sign.
    """
    found: set[str] = set()
    for text in _texts(tree):
        template = Template(text)
        if not template.is_valid():
            raise ValueError(f"a $ that begins no placeholder in {text!r}; write $$ for a dollar")
        found.update(template.get_identifiers())
    return frozenset(found)


def rendered(tree: Any, values: Values) -> Any:
    """The tree with its placeholders filled in, leaf by leaf: no value can change its shape.

    A text that is one placeholder for several values becomes a list; in a longer text they
    stand one a line. What stands under the one key `$json` becomes JSON in one text.
    """
    match tree:
        case str():
            return _filled(tree, values)
        case {"$json": value} if len(tree) == 1:
            return json.dumps(rendered(value, values), ensure_ascii=False)
        case Mapping():
            return {key: rendered(value, values) for key, value in tree.items()}
        case list() | tuple():
            return [rendered(value, values) for value in tree]
        case _:
            return tree


def plain(values: Values) -> Values:
    """The same values, fit for an address or a search expression.

    Each OA quotes in its own way, so what would need quotes is refused.

    Raises:
        UnsendableError: a value holds more than letters, digits, spaces and `.:@+/_-`.
    """
    return _Plain(values)


class _Plain(dict[str, str | tuple[str, ...]]):
    """Looks at a value when it is used: what is not used may hold anything."""

    def __getitem__(self, name: str) -> str | tuple[str, ...]:
        value = super().__getitem__(name)
        text = value if isinstance(value, str) else "".join(value)
        if not _PLAIN.fullmatch(text):
            raise UnsendableError(f"{name} holds what an address or a search cannot: {text!r}")
        return value


def _filled(text: str, values: Values) -> str | list[str]:
    alone = _ALONE.fullmatch(text)
    if alone:
        value = values[alone[1]]
        return value if isinstance(value, str) else list(value)
    return Template(text).substitute({name: _line(values[name]) for name in names(text)})


def _line(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else "\n".join(value)


def _texts(tree: Any) -> list[str]:
    match tree:
        case str():
            return [tree]
        case Mapping():
            return [text for value in tree.values() for text in _texts(value)]
        case list() | tuple():
            return [text for value in tree for text in _texts(value)]
        case _:
            return []
