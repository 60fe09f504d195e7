"""Which event goes to which handler: the one-glance table of a service's `consumer.py`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from events import Envelope, Event
from msgspec import Struct

from chassis.db import Origin, Tx

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)


class Received(Struct, Generic[E_co], frozen=True):
    """One event as it lies on its topic, with its place there."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope[E_co]

    @property
    def event(self) -> E_co:
        return self.envelope.event

    @property
    def origin(self) -> Origin:
        """What a fact that follows from this event carries on."""
        return Origin(
            correlation_id=self.envelope.correlation_id,
            causation_id=self.envelope.id,
            traceparent=self.envelope.traceparent,
        )


Handler = Callable[[Tx, Any], Awaitable[None]]


class Subscription(Struct, frozen=True):
    """One line of the table. `events`: the types it wants; `batch`: all of a batch in one call."""

    events: tuple[type[Event], ...]
    handler: Handler
    batch: bool = False


def on(event: type[E], handler: Callable[[Tx, E], Awaitable[None]]) -> Subscription:
    """Call the handler with each event of this type, in the order of its partition."""
    return Subscription((event,), handler)


def on_batch(
    events: type[E] | tuple[type[E], ...],
    handler: Callable[[Tx, Sequence[Received[E]]], Awaitable[None]],
) -> Subscription:
    """Call the handler once per partition batch with all events of these types, in order.

    It runs after the `on` handlers of the same batch. A handler that depends on the order
    between two types lists both here. Emit with `tx.emit(fact, origin=received.origin)`.
    """
    return Subscription(events if isinstance(events, tuple) else (events,), handler, batch=True)
