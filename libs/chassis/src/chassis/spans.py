"""One consumer span per batch, linked to the traces that its events come from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from chassis.arrivals import Arrival

_tracer = trace.get_tracer("tonglu.consumer")
_MAX_LINKS = 128  # the SDK's own limit


@contextmanager
def batch_span(group: str, arrivals: Sequence[Arrival]) -> Iterator[None]:
    topics = sorted({arrival.topic for arrival in arrivals})
    with _tracer.start_as_current_span(
        f"process {', '.join(topics)}",
        kind=SpanKind.CONSUMER,
        links=_links(arrivals),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": ", ".join(topics),
            "messaging.consumer.group.name": group,
            "messaging.batch.message_count": len(arrivals),
        },
        record_exception=False,  # the message of an error may hold a person's data
    ):
        yield


def _links(arrivals: Sequence[Arrival]) -> list[Link]:
    links: list[Link] = []
    for arrival in arrivals:
        if (context := _sampled(arrival.traceparent)) is not None:
            links.append(Link(context))
            if len(links) == _MAX_LINKS:
                break
    return links


def _sampled(traceparent: str | None) -> SpanContext | None:
    if traceparent is None or not traceparent.endswith("-01"):
        return None
    try:
        _, trace_id, span_id, _ = traceparent.split("-")
        return SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
        )
    except ValueError:
        return None
