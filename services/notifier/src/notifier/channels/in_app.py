"""The inbox in the app: a notice is there as soon as it is recorded as sent."""

from dataclasses import dataclass

from events.notices import ChannelName

from notifier.channels import Message


@dataclass(frozen=True, slots=True)
class InApp:
    """Nothing leaves the house: the record is the delivery."""

    name: ChannelName = ChannelName.IN_APP

    async def send(self, message: Message) -> None:
        """Nothing to hand over."""

    async def close(self) -> None:
        """Nothing to let go of."""
