"""Events as the ordinary road of a claim has them: two lines, one approval, one payment."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from events import ClaimId, EmployeeId, Envelope, Event, EventId, Money, PaymentId
from events.claims import (
    ClaimApproved,
    ClaimSubmitted,
    ExpenseLine,
    PaymentRequested,
    PaymentSettled,
)

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HASH = "a" * 64
_TOTAL = Money(amount=Decimal("1106.00"), currency="CNY")
Record = tuple[str, list[tuple[str, bytes]], bytes]


def key(number: int) -> str:
    return f"claim-{number:06d}"


def submitted(claim: str, employee: str = "E1001") -> ClaimSubmitted:
    line = {
        "spent_on": date(2026, 11, 18),
        "city": "上海",
        "amount": Money(amount=Decimal("553.00"), currency="CNY"),
    }
    return ClaimSubmitted(
        claim_id=ClaimId(claim),
        revision=1,
        employee_id=EmployeeId(employee),
        title="上海客户拜访",
        lines=(
            ExpenseLine(line_no=1, category="train", **line),
            ExpenseLine(line_no=2, category="hotel", **line),
        ),
        total=_TOTAL,
        content_hash=HASH,
        submitted_at=AT,
    )


def life(claim: str) -> tuple[Event, ...]:
    """What the claims topic holds of one claim that went well."""
    who, payment = EmployeeId("E1001"), PaymentId("0123456789abcdef0123456789abcdef")
    of = {"claim_id": ClaimId(claim)}
    paid = {"payment_id": payment, "payee_id": who, "amount": _TOTAL}
    return (
        submitted(claim),
        ClaimApproved(**of, revision=1, employee_id=who, content_hash=HASH, approved_at=AT),
        PaymentRequested(**of, **paid, revision=1, requested_at=AT),
        PaymentSettled(**of, **paid, receipt="bank-20261124-000001", settled_at=AT),
    )


def record(event: Event, sequence: int) -> Record:
    """Key, headers and value as the relay sends them."""
    envelope = Envelope(
        id=EventId(uuid4()), time=AT, sequence=sequence, correlation_id=event.key, event=event
    )
    headers = [(name, value.encode()) for name, value in envelope.headers().items()]
    return event.key, headers, envelope.value()


def lives(events: int, keys: int) -> Iterator[Record]:
    """`events` records over `keys` claims: round after round, each claim's next one."""
    for number in range(events):
        turn, claim = divmod(number, keys)
        kinds = life(key(claim))
        yield record(kinds[turn % len(kinds)], turn + 1)
