"""A profile out of its file: mistakes are named when we start."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from oa_connector.vendors.profile.model import ProfileBase

P = TypeVar("P", bound=ProfileBase[Any])


class ProfileError(Exception):
    """A profile that cannot be used; the message names the file, the field and the rule."""


def load(path: Path, kind: type[P]) -> P:
    """The profile in a YAML file.

    Raises:
        ProfileError: it cannot be read, or says something that is not allowed.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: {error}") from error
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(str(part) for part in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors(include_url=False)
        ]
        raise ProfileError("\n".join(f"{path}: {mistake}" for mistake in mistakes)) from error
