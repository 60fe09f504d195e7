"""A profile out of its file, and who we are by it: mistakes are named when we start."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from oa_connector.vendors import NotSentError
from oa_connector.vendors.profile.model import ProfileBase
from oa_connector.vendors.secrets import Secrets, secret

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


def own_account(profile: ProfileBase[Any], secrets: Secrets) -> str | None:
    """Who we are in the OA; None where the profile does not say.

    Raises:
        ProfileError: it names a secret that cannot be read.
    """
    if profile.account is None:
        return None
    try:
        return secret(secrets, profile.account)
    except NotSentError as error:
        raise ProfileError(
            f"{profile.name}: account: the secret {profile.account} cannot be read"
        ) from error
