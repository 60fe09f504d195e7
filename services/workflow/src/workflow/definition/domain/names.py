"""Where in a condition a name stands, and whether what it names exists.

The CEL library finds an unknown field only when it evaluates it, and does not say where it stands.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
    |(?P<number>\d[\w.]*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_WORDS = frozenset({"true", "false", "null", "in"})


class Place(NamedTuple):
    """A place in a text, counted from 1."""

    line: int
    column: int


class Wrong(NamedTuple):
    """A name that names nothing, and what could stand there instead."""

    offset: int
    name: str
    known: tuple[str, ...]


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


_END = _Token("end", "", 0)


def place_of(source: str, offset: int) -> Place:
    before = source[:offset]
    return Place(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def places_of(source: str, *words: str) -> Iterator[int]:
    """The offsets of these words and signs; not where they stand inside a text."""
    return (token.offset for token in _tokens(source) if token.text in words)


def zero_divisor(source: str) -> int | None:
    """The offset of a sign that divides by a zero that is written there."""
    tokens = list(_tokens(source))
    for sign, divisor in itertools.pairwise(tokens):
        if sign.text in {"/", "%"} and re.fullmatch(r"(0x)?[0.]+([eE]\d+)?u?", divisor.text):
            return sign.offset
    return None


def deep_macro(source: str, most: int) -> int | None:
    """The offset of a macro inside more than `most - 1` others: each multiplies the work."""
    within: list[bool] = []  # of each open parenthesis, whether it is a macro's
    before = _END
    for token in _tokens(source):
        if token.text == "(":
            within.append(before.text in _MACROS)
            if sum(within) > most:
                return before.offset
        elif token.text == ")" and within:
            within.pop()
        before = token
    return None


def unknown_field(source: str, shape: Mapping[str, Any]) -> Wrong | None:
    """The first name that is neither a variable nor a field of what stands before its dot.

    `shape`: a sample of the variables; a list holds one sample of its items.
    """
    tokens = [*_tokens(source), *[_END] * 5]
    scope: dict[str, Any] = dict(shape)
    for one, two, three, four in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        if one.text == "." and two.text in _MACROS and three.text == "(" and four.kind == "name":
            scope[four.text] = None  # a name of the condition's own; of what, the chain tells
    for at, token in enumerate(tokens):
        is_root = token.kind == "name" and (at == 0 or tokens[at - 1].text != ".")
        if is_root and token.text not in _WORDS and tokens[at + 1].text != "(":
            wrong = _follow(tokens, at, scope)
            if wrong is not None:
                return wrong
    return None


def _follow(tokens: Sequence[_Token], at: int, scope: dict[str, Any]) -> Wrong | None:
    """Along `a.b.c` from its root, as far as what it is can be told."""
    root = tokens[at]
    if root.text not in scope:
        return Wrong(root.offset, root.text, tuple(scope))
    what = scope[root.text]
    while tokens[at + 1].text == "." and tokens[at + 2].kind == "name" and what is not None:
        name = tokens[at + 2]
        if tokens[at + 3].text == "(":
            if name.text in _MACROS and isinstance(what, list):
                scope[tokens[at + 4].text] = what[0]
            return None
        known = what if isinstance(what, dict) else {}
        if name.text not in known:
            return Wrong(name.offset, name.text, tuple(known))
        what = known[name.text]
        at += 2
    return None


def _tokens(source: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(source):
        if found.lastgroup != "skip":
            yield _Token(str(found.lastgroup), found.group(), found.start())
