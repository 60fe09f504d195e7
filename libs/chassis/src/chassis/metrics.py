"""Every metric of the chassis, named in one place; labels never carry a person or a document."""

from prometheus_client import Counter, Gauge, Histogram

HTTP_SECONDS = Histogram(
    "tonglu_http_request_seconds",
    "Time to answer a request, by method, route and status.",
    ("method", "route", "status"),
)

RELAY_LEADING = Gauge("tonglu_relay_leading", "1 where this process publishes the outbox.")
OUTBOX_PUBLISHED = Counter(
    "tonglu_outbox_published_total", "Events acknowledged by the broker, by topic.", ("topic",)
)
OUTBOX_OLDEST_SECONDS = Gauge(
    "tonglu_outbox_oldest_seconds", "Age of the oldest event that is not published yet."
)
OUTBOX_ERRORS = Counter(
    "tonglu_outbox_publish_errors_total", "Failed attempts to publish, by error.", ("error",)
)
OUTBOX_PARKED = Counter(
    "tonglu_outbox_parked_total", "Events that the broker refused for good, by topic.", ("topic",)
)
UPKEEP_ERRORS = Counter("tonglu_upkeep_errors_total", "Rounds of upkeep that failed.")

EVENTS = Counter(
    "tonglu_events_total",
    "Events consumed: applied, unhandled, unknown, duplicate, stale, parked or behind_parked.",
    ("topic", "outcome"),
)
BATCH_SECONDS = Histogram(
    "tonglu_consumer_batch_seconds", "Time of one batch's transaction, by topic.", ("topic",)
)
BATCH_FAILURES = Counter(
    "tonglu_consumer_failures_total", "Transactions that failed, by error.", ("topic", "error")
)
LAG_SECONDS = Gauge(
    "tonglu_consumer_lag_seconds",
    "Age of the event at the head of a partition when its batch began; 0 when nothing waits.",
    ("topic", "partition"),
)
RETRY_SECONDS = Gauge(
    "tonglu_consumer_retry_seconds",
    "How long a partition has been waiting for one event to succeed; 0 when it flows.",
    ("topic", "partition"),
)
PARKING_STOPPED = Gauge(
    "tonglu_consumer_parking_stopped",
    "1 where so many keys were parked that the partition waits for a person instead.",
    ("topic", "partition"),
)
PARKED_KEYS = Gauge("tonglu_inbox_parked_keys", "Keys that wait for a person.")
PARKED_OLDEST_SECONDS = Gauge(
    "tonglu_inbox_parked_oldest_seconds", "Age of the oldest parked event."
)
