"""What Flowable's answer to what it was sent means: done, not now, never, or perhaps."""

import httpx
from events import InstanceId
from pydantic import ValidationError

from oa_connector.domain import SubmitOutcome, SubmitResult
from oa_connector.vendors import NotTakenError, OAError, RefusedError
from oa_connector.vendors.channel import answer
from oa_connector.vendors.flowable.replies import Begun

# Nothing was begun, and it may work later: sign-in that is being repaired, a full bucket.
_LATER = {401, 403, 429}


def _is_refused(reply: httpx.Response) -> bool:
    """A no to this very request, whenever it is sent."""
    later = {*_LATER, httpx.codes.REQUEST_TIMEOUT}
    return reply.is_client_error and reply.status_code not in later


def not_done(reply: httpx.Response) -> type[OAError]:
    """Whether it was not done, now or ever; an error of another kind may have come after it was."""
    if reply.status_code in {*_LATER, httpx.codes.SERVICE_UNAVAILABLE}:
        return NotTakenError
    return RefusedError if _is_refused(reply) else OAError


def judged(reply: httpx.Response) -> SubmitResult:
    """A create's reply. A 500 of Flowable may be a mistake of ours or of its own: UNKNOWN."""
    if reply.status_code == httpx.codes.CREATED:
        try:
            begun = Begun.model_validate_json(reply.content)
        except ValidationError:
            return SubmitResult(SubmitOutcome.UNKNOWN, detail=answer(reply))
        return SubmitResult(SubmitOutcome.ACCEPTED, InstanceId(begun.id))
    if reply.status_code in _LATER:
        return SubmitResult(SubmitOutcome.RETRY_LATER, detail=answer(reply))
    if _is_refused(reply):
        return SubmitResult(SubmitOutcome.REJECTED, detail=answer(reply))
    return SubmitResult(SubmitOutcome.UNKNOWN, detail=answer(reply))
