"""Secrets of an OA, asked for by name at each use: they rotate, and one may be away or empty."""

from collections.abc import Callable, Sequence

import structlog

from oa_connector.vendors import NotSentError
from oa_connector.vendors.channel import said

log = structlog.get_logger()

Secrets = Callable[[str], str]  # a secret by its name, as it is now
_UNUSABLE = (KeyError, ValueError, OSError)


def secret(secrets: Secrets, name: str) -> str:
    """Raises: NotSentError, when it cannot be read; nothing is sent without it."""
    try:
        return secrets(name)
    except _UNUSABLE as error:
        raise NotSentError(f"a secret cannot be read: {said(error)}") from error


def usable(secrets: Secrets, names: Sequence[str]) -> list[str]:
    """Those of these that prove something: the current one, then the ones before it.

    An empty one would let anyone in and does not count. That one before is not there is no news.
    """
    found = []
    for name in names:
        try:
            found.append(secrets(name))
        except _UNUSABLE as error:
            if name == names[0] or not isinstance(error, KeyError):
                log.warning("secret unusable", name=name, error=type(error).__name__)
    return [one for one in found if one]
