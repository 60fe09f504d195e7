"""A signed POST to one address of the company's choice: a robot, a gateway."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field

import httpx
from events.notices import ChannelName

from notifier.channels import Message, Refused, Unavailable

_TRY_AGAIN = {408, 429}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts each message as JSON.

    `Tonglu-Signature: t=<unix seconds>,v1=<hex>`, the hex being HMAC-SHA-256 over `<t>.<body>`.
    `notice_id` is the same for each attempt: the receiver can leave a repeated one out.
    """

    url: str
    secret: bytes
    timeout: float = 10.0  # seconds
    name: ChannelName = ChannelName.WEBHOOK
    http: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    async def send(self, message: Message) -> None:
        body = _body(message)
        headers = {
            "content-type": "application/json",
            "tonglu-signature": sign(self.secret, int(time.time()), body),
        }
        try:
            answer = await self.http.post(
                self.url, content=body, headers=headers, timeout=self.timeout
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"http {type(error).__name__}") from error
        status = answer.status_code
        if status in _TRY_AGAIN or answer.is_server_error:
            raise Unavailable(f"http {status}")
        if not answer.is_success:  # a redirect too: what is signed for one address goes to no other
            raise Refused(f"http {status}")

    async def close(self) -> None:
        await self.http.aclose()


def sign(secret: bytes, at: int, body: bytes) -> str:
    """The signature header of a body that is sent at this second."""
    mac = hmac.new(secret, str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def _body(message: Message) -> bytes:
    content = {
        "notice_id": message.notice_id,
        "recipient_id": message.recipient_id,
        "document_id": message.document_id,
        "template": message.template,
        "language": message.language,
        "subject": message.subject,
        "body": message.body,
    }
    return json.dumps(content, ensure_ascii=False).encode()
