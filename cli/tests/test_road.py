"""The road as the demo shows it: what belongs to it, what is missing, when it has ended."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from events import (
    ClaimId,
    DocumentId,
    EmployeeId,
    Envelope,
    Event,
    EventId,
    Money,
    NoticeId,
    PaymentId,
)
from events.claims import PaymentSettled
from events.notices import ChannelName, NoticeSent
from tonglu.road import EXPECTED, Road

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """The part of a Kafka record that a road looks at."""

    headers: list[tuple[str, bytes]]
    value: bytes
    topic: str = "a.topic.v1"
    partition: int = 3
    offset: int = 41


def record(event: Event, *, of: str, id_: int = 1, cause: int | None = None) -> Record:
    envelope = Envelope(
        id=EventId(UUID(int=id_)),
        time=NOW + timedelta(milliseconds=250),
        sequence=1,
        correlation_id=of,
        event=event,
        causation_id=EventId(UUID(int=cause)) if cause else None,
    )
    headers = [(name, value.encode()) for name, value in envelope.headers().items()]
    return Record(headers, envelope.value())


def settled() -> PaymentSettled:
    return PaymentSettled(
        claim_id=ClaimId("c1"),
        payment_id=PaymentId("p1"),
        payee_id=EmployeeId("E1001"),
        amount=Money(amount=Decimal("12.50"), currency="CNY"),
        receipt="FIN-1",
        settled_at=NOW,
    )


def told(recipient: str) -> NoticeSent:
    return NoticeSent(
        recipient_id=EmployeeId(recipient),
        notice_id=NoticeId("n1"),
        document_id=DocumentId("c1"),
        template="payment_settled",
        channel=ChannelName.IN_APP,
        sent_at=NOW,
    )


@pytest.fixture
def road() -> Road:
    return Road("c1", "E1001", started=NOW)


def test_event_of_another_claim_is_not_a_hop(road: Road) -> None:
    assert road.add(record(settled(), of="c2")) is None
    assert road.hops == []


def test_hop_says_where_it_lies_and_how_long_it_took(road: Road) -> None:
    hop = road.add(record(settled(), of="c1"))
    assert hop is not None
    assert (hop.topic, hop.partition, hop.offset, hop.detail) == ("a.topic.v1", 3, 41, "FIN-1")
    assert hop.millis == pytest.approx(250)


def test_road_ends_only_when_the_payee_was_told_of_this_very_payment(road: Road) -> None:
    road.add(record(settled(), of="c1", id_=7))
    road.add(record(told("E1002"), of="c1", id_=8, cause=7))
    road.add(record(told("E1001"), of="c1", id_=9, cause=6))
    assert not road.told()
    road.add(record(told("E1001"), of="c1", id_=10, cause=7))
    assert road.told()


def test_road_that_stops_names_what_should_still_come(road: Road) -> None:
    road.add(record(settled(), of="c1"))
    assert PaymentSettled.TYPE not in road.missing()
    assert len(road.missing()) == len(EXPECTED) - 1


def test_record_that_nobody_can_read_is_no_hop_of_any_road(road: Road) -> None:
    whole = record(settled(), of="c1")
    assert road.add(Record(whole.headers, b"{broken")) is None
