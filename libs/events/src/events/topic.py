"""A topic, declared once as data: manifests, the catalogue and AsyncAPI are its print-outs."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

# A payload over this many bytes is refused when it is written to the outbox: a record that the
# broker rejects would leave a hole in the producer's sequence and stop the partition for good.
MAX_PAYLOAD_BYTES = 900_000

Pii = Literal["none", "pseudonymous", "free_text", "personal"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic and who may write and read it.

    `key` names the event field that becomes the record key; one key is one ordered history.
    A compacted topic carries whole states: its readers take any newer version and expect gaps.
    """

    name: str
    key: str
    owner: str
    readers: tuple[str, ...]
    summary: str
    summary_zh: str
    partitions: int = 12  # never raised later: that would break the order of a key
    retention: timedelta | None = timedelta(days=730)  # None: kept for ever
    cleanup: Literal["delete", "compact"] = "delete"
    max_message_bytes: int = 1_048_588
    pii: Pii = "pseudonymous"
    min_insync_replicas: int = field(default=2)

    @property
    def source(self) -> str:
        """The CloudEvents `source` of every event on this topic."""
        return f"/{self.owner}"

    def dead_letters(self, group: str) -> str:
        """The topic that shows the eye what `group` has parked."""
        return f"{self.name}.dlq.{group}"

    def config(self) -> dict[str, str]:
        """The broker's settings for this topic; `min.insync.replicas` depends on the cluster."""
        retention_ms = -1 if self.retention is None else int(self.retention.total_seconds() * 1000)
        settings = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes),
            "retention.ms": str(retention_ms),
        }
        if self.cleanup == "compact":
            settings["delete.retention.ms"] = str(int(timedelta(days=7).total_seconds() * 1000))
        return settings
