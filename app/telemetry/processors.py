"""The steps that every log line passes: context, places of exceptions, the allow-list, escaping.

A log line carries only fields of `ALLOWED`; every other field is dropped and its name is logged, so that a
token, a name or a body cannot be logged by mistake. Values are cut to a length and control characters are
escaped. A traceback is logged as places in the code, never with messages or values, which may quote a row.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any

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

Event = MutableMapping[str, Any]

log_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=MappingProxyType({}))
"""Fields added to every line logged in this context: the request's id, tenant and client."""


def add_context(_logger: Any, _method: str, event: Event) -> Event:
    for name, text in log_context.get().items():
        event.setdefault(name, text)
    return event


def replace_exception(_logger: Any, _method: str, event: Event) -> Event:
    """Puts the type of an exception and its places where `exc_info` was."""
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


def drop_unlisted(_logger: Any, _method: str, event: Event) -> Event:
    # `_record` and `_from_structlog` are the formatter's own and never rendered.
    unlisted = [name for name in event if name not in ALLOWED and not name.startswith("_")]
    for name in unlisted:
        del event[name]
    if unlisted:
        event["dropped"] = ",".join(sorted(unlisted))
    return event


def cap_and_escape(_logger: Any, _method: str, event: Event) -> Event:
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if isinstance(value, list):
            event[name] = [plain(item) for item in value[:FRAMES_MAX]]
        elif not isinstance(value, int | float | None):
            event[name] = plain(value)
    return event


def drop_arguments(_logger: Any, _method: str, event: Event) -> Event:
    """Keeps the first line of a library's unfilled message template.

    The filled message may quote a statement, a row or a URL. Messages of our server are known and are kept
    whole.
    """
    record: logging.LogRecord | None = event.get("_record")
    if record is not None and not record.name.startswith("uvicorn"):
        event["event"] = str(record.msg)
    event["event"] = str(event["event"]).split("\n", 1)[0]
    event.pop("positional_args", None)
    return event


def places(error: BaseException) -> list[str]:
    """Where an error was raised, innermost last, and its causes; no message, no value."""
    lines: list[str] = []
    for cause in _causes(error):
        lines.append(type(cause).__qualname__)
        lines.extend(_frames(cause.__traceback__))
    return lines[-FRAMES_MAX:]


def plain(value: object) -> str:
    text = str(value)
    if len(text) > VALUE_MAX:
        text = text[:VALUE_MAX] + "…"
    return text.translate(_ESCAPES)


def _causes(error: BaseException) -> Iterator[BaseException]:
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
