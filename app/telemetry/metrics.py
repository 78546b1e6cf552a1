"""The metrics of requests, and the text that a scraper reads. Features define their own metrics.

With several worker processes `PROMETHEUS_MULTIPROC_DIR` must be set before this module is first imported.
"""

import os

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

HTTP_REQUESTS = Counter(
    "holdfast_http_requests", "Answers by route template and status.", ["method", "route", "status"]
)
HTTP_SECONDS = Histogram(
    "holdfast_http_request_seconds",
    "From the request's head to the last byte of its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_IN_FLIGHT = Gauge(
    "holdfast_http_in_flight", "Requests being answered.", multiprocess_mode="livesum"
)
ADMISSION_WAITING = Gauge(
    "holdfast_admission_waiting", "Requests that wait for a permit.", multiprocess_mode="livesum"
)
ADMISSION_REFUSED = Counter(
    "holdfast_admission_refused", "Requests refused because too many were waiting."
)
MUTATIONS_RUNNING = Gauge(
    "holdfast_mutations_running",
    "Changes under way, including those whose client has disconnected.",
    multiprocess_mode="livesum",
)


def render_metrics() -> bytes:
    """The text exposition of this process, or of all workers that share the directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
