"""The hints of the engine's host: HMAC-SHA256 over the timestamp, a point and the body."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from events import InstanceId
from pydantic import BaseModel, Field

from oa_connector.vendors import CallbackMalformedError, CallbackRefusedError, Hint
from oa_connector.vendors.secrets import Secrets, usable

_WINDOW = timedelta(minutes=5)
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class FlowableCallbacks:
    """InboundPort. Besides the secret `callback` the one before it counts, while it is there.

    One that cannot be used is passed over; where none is left, no callback is taken.
    """

    secrets: Secrets

    def open(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Hint]:
        sent_at = headers.get("x-oa-timestamp", "")
        signature = headers.get("x-oa-signature", "")
        if not self._is_signed(sent_at.encode() + b"." + body, signature.encode()):
            raise CallbackRefusedError("signature")
        if not sent_at.isdecimal() or abs(int(sent_at) - now.timestamp()) > _WINDOW.total_seconds():
            raise CallbackRefusedError("timestamp")
        try:
            event = _Callback.model_validate(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise CallbackMalformedError(type(error).__name__) from error
        delivery_id = headers.get("x-oa-delivery", "")
        if not 0 < len(delivery_id) <= _LONGEST_ID:
            raise CallbackMalformedError("X-OA-Delivery")
        return [Hint(InstanceId(event.instance_id), delivery_id, signature)]

    def _is_signed(self, signed: bytes, signature: bytes) -> bool:
        keys = usable(self.secrets, ("callback", "callback_previous"))
        made = [hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in keys]
        return any([hmac.compare_digest(one.encode(), signature) for one in made])  # noqa: C419 -- all are compared


class _Callback(BaseModel):
    instance_id: str = Field(alias="processInstanceId", min_length=1, max_length=64)
