"""How a person is reached, behind one typed act, and the words that they get."""

from dataclasses import dataclass
from typing import Protocol

from events import DocumentId, EmployeeId, NoticeId
from events.notices import ChannelName


@dataclass(frozen=True, slots=True)
class Message:
    """A notice in the recipient's language, ready to go out. `email` None: no address is known."""

    notice_id: NoticeId
    recipient_id: EmployeeId
    document_id: DocumentId
    template: str
    language: str
    subject: str
    body: str
    email: str | None


class Refused(Exception):
    """The channel will never take this message. The reason holds no address and no name."""


class Unavailable(Exception):
    """The channel cannot take this message now. The reason holds no address and no name."""


class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> ChannelName: ...

    async def send(self, message: Message) -> None:
        """Hand the message over.

        Raises:
            Refused: for good.
            Unavailable: for now.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
