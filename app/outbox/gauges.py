"""The metrics of the relay; rendered by app/telemetry/metrics.py with everything else."""

from prometheus_client import Counter, Gauge

BACKLOG = Gauge(
    "holdfast_outbox_backlog",
    "Facts committed and not yet accepted by the bus; counted to 20000.",
    multiprocess_mode="livemostrecent",
)
LAG_SECONDS = Gauge(
    "holdfast_outbox_lag_seconds",
    "Age of the oldest fact not yet accepted by the bus; 0 with none.",
    multiprocess_mode="livemostrecent",
)
REFUSED = Gauge(
    "holdfast_outbox_refused",
    "Facts in the backlog that the bus has refused; each holds back its aggregate.",
    multiprocess_mode="livemostrecent",
)
LEASED = Gauge(
    "holdfast_relay_leased",
    "1 in the relay that publishes, 0 in those on standby.",
    multiprocess_mode="livesum",
)
PUBLISHED = Counter("holdfast_relay_published", "Events accepted by the bus.", ["type"])
FAILURES = Counter(
    "holdfast_relay_failures",
    "Failures of publishing: an event refused, a batch failed, the database unavailable.",
    ["reason"],
)
