"""What an OA answers: values found by JSONPath, times, and whether a 200 means yes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, Self

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathSegment
from pydantic import BaseModel, ConfigDict, Field, model_validator

from oa_connector.vendors import ContractError

_PATHS = JSONPathEnvironment(strict=True)
_LONGEST_WORDS = 120
_MILLISECONDS = 10_000_000_000  # a number of seconds as large as this is after the year 2286


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `body` is plain data, or None when it is not what the transport expects.

    `headers` have names in lower case. A transport without a status says 200 or 500.
    """

    status: int
    body: Any
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What the OA wrote, in one short line."""
        return " ".join(self.text.split())[:_LONGEST_WORDS]

    def __str__(self) -> str:
        """The status and what the OA wrote; not for logs."""
        return f"{self.status} {self.words}"


class Part(BaseModel):
    """A part of a profile: what it does not know is a mistake, not an extra."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Extractor(Part):
    """Where a value stands: a JSONPath into the body, or a header. A bare text is a JSONPath.

    Of a long value `pattern` keeps what its one group matches, as often as it does; of several
    values `take` keeps one.
    """

    path: str | None = None
    header: str | None = None
    pattern: str | None = None
    take: Literal["first", "last"] = "first"

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if (self.path is None) == (self.header is None):
            raise ValueError("give either path or header")
        if self.path is not None:
            checked_path(self.path)
        if self.pattern is not None and _pattern(self.pattern).groups != 1:
            raise ValueError(f"pattern {self.pattern!r} must have exactly one group")
        return self

    def __str__(self) -> str:
        return f"header {self.header}" if self.path is None else self.path

    def all(self, body: Any, headers: Mapping[str, str] | None = None) -> list[str]:
        """Every value as text; what is empty, null or a structure is no value."""
        if self.path is None:
            found: list[Any] = [(headers or {}).get((self.header or "").lower())]
        else:
            found = values_at(self.path, body)
        texts = [_text(value) for value in found]
        if self.pattern is not None:
            texts = [match[1] for text in texts for match in _pattern(self.pattern).finditer(text)]
        return [text for text in texts if text]

    def one(self, body: Any, headers: Mapping[str, str] | None = None) -> str | None:
        """The value, None where there is none."""
        found = self.all(body, headers)
        if not found:
            return None
        return found[0] if self.take == "first" else found[-1]


class Sign(Part):
    """By what an answer is known. Everything given must hold; of a list, one is enough."""

    status: tuple[int, ...] = ()
    path: str | None = None
    matches: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.status and self.path is None:
            raise ValueError("give status, path or both")
        if self.matches is not None and self.path is None:
            raise ValueError("matches needs the path of what it looks at")
        if self.path is not None:
            checked_path(self.path)
        if self.matches is not None:
            _pattern(self.matches)
        return self

    def holds(self, reply: Reply) -> bool:
        if self.status and reply.status not in self.status:
            return False
        if self.path is None:
            return True
        found = values_at(self.path, reply.body)
        if self.matches is None:
            return bool(found)
        return any(_pattern(self.matches).search(_text(value)) for value in found)


class Verdict(StrEnum):
    """What an answer means for the call."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRY = "retry"
    UNKNOWN = "unknown"


class Judged(Part):
    """How the answers of a call are judged: retry first, then refused, then accepted.

    An answer that nothing describes is UNKNOWN, whatever its status is.
    """

    accepted_when: tuple[Sign, ...] = Field((Sign(status=(200,)),), min_length=1)
    refused_when: tuple[Sign, ...] = ()
    retry_when: tuple[Sign, ...] = ()

    def judge(self, reply: Reply) -> Verdict:
        order = (
            (self.retry_when, Verdict.RETRY),
            (self.refused_when, Verdict.REFUSED),
            (self.accepted_when, Verdict.ACCEPTED),
        )
        for signs, verdict in order:
            if any(sign.holds(reply) for sign in signs):
                return verdict
        return Verdict.UNKNOWN


def values_at(path: str, body: Any) -> list[Any]:
    """What a JSONPath finds; nothing in a body that is no structure."""
    if not isinstance(body, Mapping | Sequence) or isinstance(body, str | bytes):
        # A bare number or text is a whole answer of some OAs: `$` finds it.
        return [body] if path == "$" and body is not None else []
    return list(_compiled(path).findall(body))


def has_list(path: str, body: Any) -> bool:
    """Whether the list whose items `path` finds is there, if only an empty one."""
    if not isinstance(body, Mapping | list):
        return False
    steps = _compiled(path).segments
    before_many = [n for n, one in enumerate(steps) if not _path(one).singular_query()]
    return any(
        isinstance(value, list)
        for n in before_many or [-1]
        for value in _path(*steps[:n]).findall(body)
    )


def _path(*segments: JSONPathSegment) -> JSONPath:
    return JSONPath(env=_PATHS, segments=segments)


def checked_path(path: str) -> str:
    """The same path.

    Raises:
        ValueError: it is no JSONPath.
    """
    try:
        _compiled(path)
    except JSONPathError as error:
        raise ValueError(f"{path!r} is no JSONPath: {str(error).splitlines()[0]}") from error
    return path


def moment(text: str, zone: tzinfo) -> datetime:
    """A time as OAs write it: ISO 8601, or seconds or milliseconds since 1970; then in UTC.

    Raises:
        ContractError: it is none of these.
    """
    try:
        if text.isdecimal():
            number = int(text)
            return datetime.fromtimestamp(number / (1000 if number >= _MILLISECONDS else 1), UTC)
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ContractError("a time that is none", text) from error


def money(text: str) -> Decimal | None:
    """An amount; None where the OA shows something else, which equals no amount of ours."""
    try:
        found = Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _text(value: Any) -> str:
    match value:
        case str():
            return value.strip()
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case _:
            return ""


@lru_cache(maxsize=512)
def _compiled(path: str) -> Any:
    return _PATHS.compile(path)


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
