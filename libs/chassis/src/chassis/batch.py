"""The events of a batch, of one partition or several, taking effect in one transaction."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from events import Envelope, Event, Malformed, Topic, Unrecognised

from chassis import inbox
from chassis.arrivals import Arrival
from chassis.db import Tx
from chassis.failpoints import failpoint
from chassis.inbox import Failure, Key, Place
from chassis.subscriptions import Handler, Received, Subscription
from chassis.words import Reject


class Gap(Reject):
    """An event came whose predecessor did not."""


class Routes:
    """A service's subscriptions, arranged by topic and type."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self.topics: dict[str, Topic] = {}
        self.each: dict[type[Event], list[Handler]] = defaultdict(list)
        self.batches: list[tuple[frozenset[type[Event]], Handler]] = []
        self._wanted: set[type[Event]] = set()
        for subscription in subscriptions:
            self.topics |= {event.TOPIC.name: event.TOPIC for event in subscription.events}
            self._wanted |= set(subscription.events)
            if subscription.batch:
                self.batches.append((frozenset(subscription.events), subscription.handler))
            else:
                for event in subscription.events:
                    self.each[event].append(subscription.handler)

    def wants(self, arrival: Arrival) -> bool:
        """Whether it can have an effect here, if only that of being parked."""
        content = arrival.content
        if isinstance(content, Envelope):
            return type(content.event) in self._wanted
        return isinstance(content, Malformed)


@dataclass(slots=True)
class _Plan:
    """What each event of a batch comes to."""

    taking_effect: list[Received[Any]] = field(default_factory=list)
    behind: list[Arrival] = field(default_factory=list)
    versions: dict[Key, int] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)


async def apply(tx: Tx, routes: Routes, arrivals: Sequence[Arrival]) -> Counter[tuple[str, str]]:
    """Let a batch take effect, each partition in its order; counts (topic, outcome).

    Raises:
        Reject, Malformed: one of them must be parked, which the caller does when it is alone.
    """
    await inbox.lock(tx, {(arrival.topic, arrival.partition) for arrival in arrivals})
    fresh = await inbox.add(tx, [arrival for arrival in arrivals if routes.wants(arrival)])
    places = await inbox.places(tx, {arrival.place for arrival in arrivals})
    plan = _plan(routes, arrivals, fresh, places)
    if plan.behind:
        behind = Failure("Behind", "an earlier event of this key is parked", 0, tx.now)
        await inbox.park(tx, plan.behind, behind)
    await _handle(tx, routes, plan.taking_effect)
    await inbox.move(tx, plan.versions)
    await failpoint("consumer.before_commit")
    return plan.outcomes


async def apply_parked(tx: Tx, routes: Routes, arrival: Arrival) -> None:
    """Let one parked event take effect. A person has looked: a gap before it is accepted.

    Raises:
        Malformed: it still cannot be read; or whatever the handler raises.
    """
    place = (await inbox.places(tx, [arrival.place]))[arrival.place]
    if isinstance(arrival.content, Malformed):
        raise arrival.content
    if place.version is not None and arrival.version <= place.version:
        return
    if isinstance(arrival.content, Envelope):
        await _handle(tx, routes, [_received(arrival, arrival.content)])
    await inbox.move(tx, {arrival.place: arrival.version})


def _plan(
    routes: Routes, arrivals: Sequence[Arrival], fresh: set[UUID], places: Mapping[Key, Place]
) -> _Plan:
    plan = _Plan()
    for arrival in arrivals:
        key, content, is_parked = arrival.place, arrival.content, places[arrival.place].is_parked
        known = plan.versions.get(key, places[key].version)
        is_new = not routes.wants(arrival) or arrival.event_id in fresh
        if isinstance(content, Malformed) and is_new and not is_parked:
            raise content
        if known is not None and arrival.version <= known and not isinstance(content, Malformed):
            outcome = "stale" if is_new else "duplicate"
        elif is_parked:
            plan.behind.append(arrival)
            outcome = "behind_parked"
        elif isinstance(content, Malformed):
            outcome = "duplicate"
        else:
            # The first version seen of a key is taken whatever it is: retention may have cut off
            # the earlier ones before this group began to read.
            has_gaps = routes.topics[arrival.topic].cleanup == "compact"
            if not has_gaps and known is not None and arrival.version > known + 1:
                raise Gap(f"version {known} of the key is followed by {arrival.version}")
            plan.versions[key] = arrival.version
            outcome = _take(routes, plan, arrival, is_new=is_new)
        plan.outcomes[arrival.topic, outcome] += 1
    return plan


def _take(routes: Routes, plan: _Plan, arrival: Arrival, *, is_new: bool) -> str:
    content = arrival.content
    if isinstance(content, Unrecognised):
        return "unknown"
    if not isinstance(content, Envelope) or not routes.wants(arrival):
        return "unhandled"
    if not is_new:
        return "duplicate"
    plan.taking_effect.append(_received(arrival, content))
    return "applied"


def _received(arrival: Arrival, envelope: Envelope[Event]) -> Received[Event]:
    return Received(arrival.topic, arrival.partition, arrival.offset, envelope)


async def _handle(tx: Tx, routes: Routes, received: Sequence[Received[Any]]) -> None:
    for one in received if routes.each else ():
        for handler in routes.each.get(type(one.event), ()):
            with tx.caused_by(one.origin):
                await handler(tx, one.event)
    for events, handler in routes.batches:
        if mine := [one for one in received if type(one.event) in events]:
            await handler(tx, mine)
