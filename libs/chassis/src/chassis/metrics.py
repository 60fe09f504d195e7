"""Every metric of the chassis, named in one place; labels never carry a person or a document."""

from prometheus_client import Histogram

HTTP_SECONDS = Histogram(
    "tonglu_http_request_seconds",
    "Time to answer a request, by method, route and status.",
    ("method", "route", "status"),
)
