"""The contracts of Tonglu: what crosses a service boundary, and nothing else."""

from events import claims, directory, notices, oa, workflow
from events.envelope import Envelope, Malformed, Unrecognised, decode
from events.event import Event, event_class, event_classes, topics
from events.ids import (
    ClaimId,
    DepartmentId,
    DocumentId,
    EmployeeId,
    EventId,
    InstanceId,
    NoticeId,
    PaymentId,
    TaskId,
    TenantId,
)
from events.kafka_topics import TopicSpec, topic_specs
from events.topic import MAX_PAYLOAD_BYTES, Topic
from events.values import ContentHash, Money, OpenEnum

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "ClaimId",
    "ContentHash",
    "DepartmentId",
    "DocumentId",
    "EmployeeId",
    "Envelope",
    "Event",
    "EventId",
    "InstanceId",
    "Malformed",
    "Money",
    "NoticeId",
    "OpenEnum",
    "PaymentId",
    "TaskId",
    "TenantId",
    "Topic",
    "TopicSpec",
    "Unrecognised",
    "claims",
    "decode",
    "directory",
    "event_class",
    "event_classes",
    "notices",
    "oa",
    "topic_specs",
    "topics",
    "workflow",
]
