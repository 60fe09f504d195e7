"""One claim's road as it happens: every event of it, in the order in which Kafka has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiokafka import ConsumerRecord
from events import Envelope, Event, Malformed, decode, topics
from events.claims import (
    ClaimApprovalRevoked,
    ClaimApproved,
    ClaimSubmitted,
    PaymentRequested,
    PaymentSettled,
    PaymentStopped,
)
from events.notices import NoticeSent
from events.oa import OADecisionReceived, OADriftRepaired, OAInstanceClosed, OAInstanceOpened
from events.workflow import (
    ApprovalActed,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalTaskAssigned,
    ApprovalTaskClosed,
    ApprovalTaskDecided,
)

from tonglu.reading import partitions, reader

_WORDS: dict[type[Event], tuple[str, Callable[..., str]]] = {
    ClaimSubmitted: ("提交报销单", lambda e: f"{e.total.amount} {e.total.currency}"),
    ApprovalRequested: ("规划审批流", lambda e: " → ".join(s.approver_id for s in e.route)),
    ApprovalTaskAssigned: ("派发待办", lambda e: f"{e.step_name} · {e.assignee_id}"),
    OAInstanceOpened: ("OA 发起流程", lambda e: f"{e.tenant} · {e.instance_id[:8]}"),
    OADecisionReceived: ("OA 里作了决定", lambda e: f"{e.decided_by} {e.decision}"),
    ApprovalTaskDecided: ("决定生效", lambda e: f"{e.decided_by} {e.decision} @ {e.via}"),
    ApprovalTaskClosed: ("待办关闭", lambda e: f"{e.assignee_id} · {e.closing}"),
    ApprovalActed: ("审批操作", lambda e: f"{e.by or '规则'} {e.verb}"),
    ApprovalDecided: ("审批结束", lambda e: str(e.outcome)),
    OAInstanceClosed: ("OA 流程办结", lambda e: str(e.status)),
    ClaimApproved: ("报销单通过", lambda e: f"sha256 {e.content_hash[:8]}"),
    PaymentRequested: (
        "请求付款",
        lambda e: f"{e.amount.amount} {e.amount.currency} → {e.payee_id}",
    ),
    PaymentSettled: ("款项到账", lambda e: e.receipt),
    PaymentStopped: ("停止付款", lambda e: f"{e.amount.amount} {e.amount.currency}"),
    ClaimApprovalRevoked: ("批准被撤销", lambda e: e.reason),
    OADriftRepaired: ("不一致已修复", lambda e: f"{e.drift} · {e.repair}"),
    NoticeSent: ("通知本人", lambda e: f"{e.recipient_id} · {e.template} · {e.channel}"),
}

# What must follow, so that a road that stops can say where.
EXPECTED: tuple[type[Event], ...] = (
    ClaimSubmitted,
    ApprovalRequested,
    OAInstanceOpened,
    OADecisionReceived,
    ApprovalDecided,
    ClaimApproved,
    PaymentRequested,
    PaymentSettled,
    NoticeSent,
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One event of the road, and the milliseconds since the one before it."""

    words: str
    detail: str
    topic: str
    partition: int
    offset: int
    envelope: Envelope[Event]
    millis: float

    @property
    def type(self) -> str:
        return self.envelope.event.TYPE


@dataclass(slots=True)
class Road:
    """All that has been seen of one claim."""

    claim_id: str
    payee_id: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    hops: list[Hop] = field(default_factory=list)

    def add(self, record: ConsumerRecord) -> Hop | None:
        """Take a record; the hop that it is, or None when it belongs to another road."""
        try:
            found = decode(record.headers, record.value)
        except Malformed:  # nobody can read it, so it is no hop of any road
            return None
        if not isinstance(found, Envelope) or found.correlation_id != self.claim_id:
            return None
        words, detail = _WORDS.get(type(found.event), (found.event.TYPE, lambda _: ""))
        before = self.hops[-1].envelope.time if self.hops else self.started
        millis = (found.time - before).total_seconds() * 1000
        place = (record.topic, record.partition, record.offset)
        hop = Hop(words, detail(found.event), *place, found, millis)
        self.hops.append(hop)
        return hop

    def missing(self) -> list[str]:
        """The event types that should still come."""
        seen = {type(hop.envelope.event) for hop in self.hops}
        return [cls.TYPE for cls in EXPECTED if cls not in seen]

    def told(self) -> bool:
        """Whether the money has moved and the employee knows it."""
        paid = next((h for h in self.hops if isinstance(h.envelope.event, PaymentSettled)), None)
        return paid is not None and any(
            isinstance(hop.envelope.event, NoticeSent)
            and hop.envelope.event.recipient_id == self.payee_id
            and hop.envelope.causation_id == paid.envelope.id
            for hop in self.hops
        )


async def follow(bootstrap: str, road: Road, *, ready: asyncio.Event) -> AsyncIterator[Hop]:
    """The hops as they come, from now on. `ready` is set once nothing can be missed."""
    async with reader(bootstrap) as consumer:
        places = [place for topic in topics() for place in await partitions(consumer, topic.name)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        ready.set()
        while True:
            found = await consumer.getmany(timeout_ms=100)
            batch = [record for records in found.values() for record in records]
            for record in sorted(batch, key=lambda record: record.timestamp):
                if (hop := road.add(record)) is not None:
                    yield hop
