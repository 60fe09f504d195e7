"""A profile out of its file: mistakes are named when we start."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from oa_connector.vendors.profile.model import ProfileBase

P = TypeVar("P", bound=ProfileBase[Any])
_Place = tuple[int | str, ...]


class ProfileError(Exception):
    """A profile that cannot be used; the message names the file, the field and the rule."""


def read(path: Path) -> Any:
    """What the YAML file holds.

    Raises:
        ProfileError: it cannot be read.
    """
    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: {error}") from error


def load(path: Path, kind: type[P]) -> P:
    """The profile in a YAML file.

    Raises:
        ProfileError: it cannot be read, or says something that is not allowed.
    """
    content = read(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        told = (f"{path}: {mistake}" for mistake in _mistakes(error, kind))
        raise ProfileError("\n".join(told)) from error


def _mistakes(error: ValidationError, kind: type[BaseModel]) -> Iterator[str]:
    """Each in a line of its own; a list that is short only for its wrong items is none."""
    found = error.errors(include_url=False)
    places: list[_Place] = [one["loc"] for one in found]
    for one in found:
        place, said = one["loc"], one["msg"].removeprefix("Value error, ")
        if one["type"] == "too_short" and any(_is_within(other, place) for other in places):
            continue
        if one["type"] == "missing":
            said = "is needed"
        if one["type"] == "extra_forbidden":
            said = f"unknown here; known: {', '.join(_known([kind], place[:-1]))}"
        if not place and one["type"] == "value_error":  # of the whole: it names its fields itself
            yield from said.splitlines()
        else:
            yield f"{'.'.join(str(part) for part in place) or 'the file'}: {said}"


def _is_within(inner: _Place, outer: _Place) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _known(models: Sequence[type[BaseModel]], place: _Place) -> list[str]:
    """The fields that may stand at a place; an index, or the kind of a part, is a step of it."""
    for part in place:
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        within = [model for one in fields for model in _models(one.annotation)]
        models = within or [one for one in models if _is_kind(one, part)] or models
    return [
        field.alias or name
        for model in models
        for name, field in model.model_fields.items()
        if not field.exclude
    ]


def _models(kind: Any) -> list[type[BaseModel]]:
    """The models in a type, through unions and lists."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for one in get_args(kind) for model in _models(one)]


def _is_kind(model: type[BaseModel], part: int | str) -> bool:
    kind = model.model_fields.get("kind")
    return kind is not None and part in get_args(kind.annotation)
