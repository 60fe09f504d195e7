"""Traces: configured once per process, carried through outbox rows and record headers."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased


def configure(service: str, *, ratio: float, endpoint: str | None) -> TracerProvider:
    """Make the process's tracer. Without an endpoint spans have ids, for logs, and no more."""
    root = TraceIdRatioBased(ratio) if endpoint is not None else ALWAYS_OFF
    provider = TracerProvider(
        sampler=ParentBased(root),
        resource=Resource.create({"service.name": service, "service.namespace": "tonglu"}),
    )
    if endpoint is not None:
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def traceparent() -> str | None:
    """The W3C header value of the present span, or None outside any."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
