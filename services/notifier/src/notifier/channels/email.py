"""E-mail by SMTP, one connection per letter."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from typing import Literal

import aiosmtplib
from events.notices import ChannelName

from notifier.channels import Message, Refused, Unavailable

Tls = Literal["none", "starttls", "tls"]
_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Email:
    """An SMTP server. `tls`: `starttls` is required, not hoped for; `none` is for loopback."""

    host: str
    port: int
    sender: str
    tls: Tls = "starttls"
    user: str | None = None
    password: str | None = None
    timeout: float = 10.0  # seconds, for each step of the conversation
    name: ChannelName = ChannelName.EMAIL

    async def send(self, message: Message) -> None:
        if message.email is None:
            raise Refused("no e-mail address")
        try:
            await aiosmtplib.send(
                self._letter(message, message.email),
                hostname=self.host,
                port=self.port,
                username=self.user,
                password=self.password,
                use_tls=self.tls == "tls",
                start_tls=self.tls == "starttls",
                timeout=self.timeout,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _verdict(max(it.code for it in error.recipients)) from error
        except aiosmtplib.SMTPDataError as error:
            raise _verdict(error.code) from error
        except aiosmtplib.SMTPResponseException as error:
            # About us (greeting, login, sender), not about this letter: a person can repair it.
            raise Unavailable(f"smtp {error.code} {type(error).__name__}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unavailable(f"smtp {type(error).__name__}") from error

    async def close(self) -> None:
        """Nothing is kept open."""

    def _letter(self, message: Message, address: str) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = self.sender
        letter["To"] = address
        letter["Subject"] = message.subject
        letter["Date"] = formatdate(localtime=False)
        # The same for each attempt: a reader's mail program shows a repeated letter once.
        letter["Message-ID"] = f"<{message.notice_id}@{self.sender.rpartition('@')[2].strip('>')}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter["Content-Language"] = message.language
        letter.set_content(message.body)
        return letter


def _verdict(code: int) -> Refused | Unavailable:
    kind = Refused if code >= _PERMANENT else Unavailable
    return kind(f"smtp {code}")
