"""Where log lines go: one stream for structlog and every standard logger, through one chain of steps.

Lines go to standard error, because standard output belongs to the `log` event bus.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import structlog

from app.telemetry.processors import (
    add_context,
    cap_and_escape,
    drop_arguments,
    drop_unlisted,
    log_context,
    plain,
    replace_exception,
)
from app.telemetry.ticks import OncePerTick


class _RequestLines:
    """Collects the lines of requests and writes all lines of one tick at once."""

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._lines: list[str] = []
        self._write_soon = OncePerTick(self._write)

    def point_at(self, stream: TextIO | None) -> None:
        self._stream = stream

    def add(self, line: str) -> None:
        if self._stream is None:
            return
        self._lines.append(line)
        self._write_soon.request()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if self._stream is not None:
            self._stream.write("".join(lines))


_request_lines = _RequestLines()


def configure_logging(level: str = "INFO") -> None:
    """Points structlog and every standard logger at one stream, through one chain."""
    chain: list[structlog.typing.Processor] = [
        add_context,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        replace_exception,
        drop_unlisted,
        cap_and_escape,
    ]
    renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logs_requests = logging.getLevelName(level) <= logging.INFO
    _request_lines.point_at(sys.stderr if logs_requests else None)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[drop_arguments, structlog.stdlib.add_logger_name, *chain],
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
    access = logging.getLogger("uvicorn.access")  # it logs query strings; `log_request` does not
    access.handlers[:] = []
    access.propagate = False


def log_request(method: str, route: str, status: int, seconds: float, code: str | None) -> None:
    """Logs one request, without the chain.

    This is by far the most frequent line. Its few fields are our own words or come from `log_context`, and
    the result is the same as through the chain.
    """
    context = "".join(f'"{name}": {_quoted(text)}, ' for name, text in log_context.get().items())
    refusal = f'"code": "{code}", ' if code else ""
    at = datetime.now(UTC).isoformat().removesuffix("+00:00")
    _request_lines.add(
        f'{{"method": "{method}", "route": "{route}", "status": {status}, '
        f'"duration_ms": {seconds * 1000:.1f}, {refusal}{context}'
        f'"event": "request", "level": "info", "timestamp": "{at}Z"}}\n'
    )


# Tenants and clients repeat, request ids do not: room for the former among the ids of a few seconds.
@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(plain(text))
