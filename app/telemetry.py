"""What the program says about itself: log lines and metrics.

A log line carries only fields of `ALLOWED`; everything else is dropped by name, so that a token, a
name or a body cannot be logged by mistake. Values are capped and control characters escaped. A
traceback is logged as places in the code, never with messages or values, which may quote a row.
Lines go to standard error: standard output belongs to the `log` event bus.

With several worker processes `PROMETHEUS_MULTIPROC_DIR` must be set before the first import.
"""

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType, TracebackType
from typing import Any, TextIO

import structlog
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

# fmt: off
ALLOWED = frozenset({
    "timestamp", "level", "logger", "event", "dropped", "error_type", "stack", "request_id",
    "tenant_id", "client_id", "method", "route", "status", "duration_ms", "code", "hold_id",
    "booking_id", "flight_id", "event_id", "event_type", "epoch", "attempt", "attempts", "count",
    "limit", "position", "lag_seconds", "seconds", "wait_ms", "worker", "pid", "port", "host",
    "role", "version", "reason", "outcome", "check", "job", "script", "table", "sqlstate", "bus",
    "environment",
})
# fmt: on
VALUE_MAX = 512  # characters
FRAMES_MAX = 30
_CAUSES_MAX = 4

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
    "holdfast_admission_waiting", "Requests queued for a turn.", multiprocess_mode="livesum"
)
ADMISSION_REFUSED = Counter("holdfast_admission_refused", "Requests refused as too many.")
MUTATIONS_RUNNING = Gauge(
    "holdfast_mutations_running",
    "Changes under way, including those whose client has gone.",
    multiprocess_mode="livesum",
)

Event = MutableMapping[str, Any]

log_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=MappingProxyType({}))
"""What every line says that is logged meanwhile: of which request, for whom."""


class OncePerTick:
    """Does something at the end of a turn of the event loop, however often it was asked for in it."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._asked: asyncio.AbstractEventLoop | None = None

    def soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._asked is not loop:  # or another loop ended before it came to that
            self._asked = loop
            loop.call_soon(self._do)

    def _do(self) -> None:
        self._asked = None
        self._act()


class TickGauge:
    """A gauge of what goes up and down with every request, told once a turn."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._value = 0
        self._told = OncePerTick(self._tell)

    def move(self, by: int) -> None:
        self._value += by
        self._told.soon()

    def _tell(self) -> None:
        self._gauge.set(self._value)


class _RequestLines:
    """Where the lines of requests go: what one turn of the event loop brings is written at once."""

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._waiting: list[str] = []
        self._written = OncePerTick(self._write)

    def point_at(self, stream: TextIO | None) -> None:
        self._stream = stream

    def add(self, line: str) -> None:
        if self._stream is None:
            return
        self._waiting.append(line)
        self._written.soon()

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        if self._stream is not None:
            self._stream.write("".join(lines))


_request_lines = _RequestLines()


def configure_logging(level: str = "INFO") -> None:
    """Points structlog and every standard logger at one stream, through one chain."""
    chain: list[structlog.typing.Processor] = [
        _of_what,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _places_of_exception,
        _only_allowed,
        _capped_and_escaped,
    ]
    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    are_wanted = logging.getLevelName(level) <= logging.INFO
    _request_lines.point_at(sys.stderr if are_wanted else None)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_without_arguments, structlog.stdlib.add_logger_name, *chain],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        server = logging.getLogger(name)
        server.handlers[:] = []
        server.propagate = True
        server.setLevel(level)
    access = logging.getLogger("uvicorn.access")  # it would log query strings; ours does not
    access.handlers[:] = []
    access.propagate = False


def log_request(method: str, route: str, status: int, seconds: float, code: str | None) -> None:
    """The line of one request: the most frequent by far, and made of few fields, all of them our own
    words or in `log_context`. So it takes a way around the chain, and says the same as through it.
    """
    about = "".join(f'"{name}": {_quoted(text)}, ' for name, text in log_context.get().items())
    why = f'"code": "{code}", ' if code else ""
    at = datetime.now(UTC).isoformat().removesuffix("+00:00")
    _request_lines.add(
        f'{{"method": "{method}", "route": "{route}", "status": {status}, '
        f'"duration_ms": {seconds * 1000:.1f}, {why}{about}'
        f'"event": "request", "level": "info", "timestamp": "{at}Z"}}\n'
    )


def render_metrics() -> bytes:
    """The text exposition of this process, or of all workers that share the directory."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def places(error: BaseException) -> list[str]:
    """Where an error was raised, innermost last, and its causes; no message, no value."""
    lines: list[str] = []
    for cause in _chain(error):
        lines.append(type(cause).__qualname__)
        lines.extend(_frames(cause.__traceback__))
    return lines[-FRAMES_MAX:]


def _of_what(_logger: Any, _method: str, event: Event) -> Event:
    for name, text in log_context.get().items():
        event.setdefault(name, text)
    return event


def _places_of_exception(_logger: Any, _method: str, event: Event) -> Event:
    given = event.pop("exc_info", None)
    if not given:
        return event
    if isinstance(given, tuple):
        error = given[1]
    elif isinstance(given, BaseException):
        error = given
    else:
        error = sys.exc_info()[1]
    if error is not None:
        event["error_type"] = type(error).__qualname__
        event["stack"] = places(error)
    return event


def _only_allowed(_logger: Any, _method: str, event: Event) -> Event:
    # `_record` and `_from_structlog` are the formatter's own and never rendered.
    strangers = [name for name in event if name not in ALLOWED and not name.startswith("_")]
    for name in strangers:
        del event[name]
    if strangers:
        event["dropped"] = ",".join(sorted(strangers))
    return event


def _capped_and_escaped(_logger: Any, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if isinstance(value, list):
            event[name] = [_plain(item) for item in value[:FRAMES_MAX]]
        elif not isinstance(value, int | float | None):
            event[name] = _plain(value)
    return event


def _without_arguments(_logger: Any, _method: str, event: Event) -> Event:
    # A library's message may quote a statement, a row or a URL: only our server's own, which we
    # know, are kept whole; of others the first line of the unfilled template.
    record: logging.LogRecord | None = event.get("_record")
    if record is not None and not record.name.startswith("uvicorn"):
        event["event"] = str(record.msg)
    event["event"] = str(event["event"]).split("\n", 1)[0]
    event.pop("positional_args", None)
    return event


def _plain(value: object) -> str:
    text = str(value)
    if len(text) > VALUE_MAX:
        text = text[:VALUE_MAX] + "…"
    return text.translate(_ESCAPES)


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(_plain(text))


def _chain(error: BaseException) -> Iterator[BaseException]:
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(causes) < _CAUSES_MAX and current not in causes:
        causes.append(current)
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    yield from reversed(causes)


def _frames(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.extract_tb(trace):
        yield f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}"


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
