"""The two words with which a handler says that an event cannot take effect now, or at all."""

from datetime import timedelta


class Retry(Exception):
    """The cause will pass (a row has not arrived, a server is away): ask again later.

    The partition waits, in order, without a limit of attempts; its age raises the alarm. Where the
    cause lies in the one document and may never pass, `at_most` is how long the others wait for it:
    then its key is parked, as if rejected.
    """

    def __init__(
        self,
        reason: str,
        *,
        after: timedelta = timedelta(seconds=1),
        at_most: timedelta | None = None,
    ) -> None:
        super().__init__(reason)
        self.after = after
        self.at_most = at_most


class Reject(Exception):
    """The event can never take effect as it is: park its key, let the others flow."""
