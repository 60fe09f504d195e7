"""What the parts of a profile must say together: each mistake with its field, rule and way out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from oa_connector.domain import Idempotency, Status

if TYPE_CHECKING:
    from oa_connector.vendors.profile.model import ProfileBase


def mistakes(profile: "ProfileBase[Any]") -> Iterator[str]:
    """Each in one line."""
    misplaced = list(_placeholders(profile))
    yield from misplaced or _found_again(profile)
    if any(one.per == "step" for one in profile.withdraw) and profile.steps is None:
        yield "withdraw: per step needs steps"
    if profile.steps is None and Status.APPROVED in profile.statuses.values():
        yield "steps is needed: an approval counts by who gave it"


def _placeholders(profile: "ProfileBase[Any]") -> Iterator[str]:
    """Those that stand where nothing can fill them."""
    for place, call, known in profile.calls():
        try:
            unknown = sorted(call.placeholders() - known)
        except ValueError as error:
            yield f"{place}: {error}"
            continue
        if unknown:
            there = ", ".join(sorted(known)) or "none"
            yield f"{place}: unknown placeholder {', '.join(unknown)}; known: {there}"


def _found_again(profile: "ProfileBase[Any]") -> Iterator[str]:
    """A process is found by our key, and known as ours by the hash of its content."""
    create, resolve = profile.create.call, profile.resolve
    if not create.needs("content_hash"):
        yield "create: ${content_hash} is needed: a process that does not show it counts as another"
    if resolve is None:
        if profile.idempotency is not Idempotency.NONE:
            yield f"idempotency {profile.idempotency} needs resolve: how to find our key again"
        return
    if not create.needs("business_key"):
        yield "create: ${business_key} is needed: resolve finds the process by it"
    if not resolve.call.needs("business_key"):
        yield "resolve: ${business_key} is needed: without it other documents' processes are found"
    if profile.process.business_key is None:
        yield "process.business_key is needed: what resolve finds counts under exactly our key"
