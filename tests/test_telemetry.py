"""What a log line may say, and that metrics of several processes add up."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import structlog

from app.telemetry.processors import FRAMES_MAX, VALUE_MAX
from tests.fixtures.logging import logged

__all__ = ["logged"]

CANARY = "canary-4711"


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def test_only_allowed_fields_are_logged(logged: io.StringIO) -> None:
    structlog.get_logger().info("booked", booking_id="bkg_1", family_name=CANARY, token=CANARY)
    (line,) = lines(logged)
    assert line["booking_id"] == "bkg_1"
    assert line["dropped"] == "family_name,token"
    assert CANARY not in json.dumps(line)


def test_values_are_capped_and_stay_on_their_line(logged: io.StringIO) -> None:
    structlog.get_logger().info("x", reason="a\r\nb\x1b[31m\u2028c\x85", route="r" * 10_000)
    (line,) = lines(logged)
    assert line["reason"] == r"a\x0d\x0ab\x1b[31m\u2028c\x85"
    assert len(line["route"]) == VALUE_MAX + 1


def test_an_exception_is_logged_by_its_places(logged: io.StringIO) -> None:
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ValueError(CANARY) from error
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
        logging.getLogger("a.library").exception("failed with %s", CANARY)
    for line in lines(logged):
        assert CANARY not in json.dumps(line)
        assert line["error_type"] == "ValueError"
        assert line["stack"][0] == "KeyError"
        assert "test_telemetry.py" in line["stack"][1]


def test_a_deep_stack_is_bounded(logged: io.StringIO) -> None:
    def deeper(depth: int) -> None:
        if depth == 0:
            raise ValueError
        deeper(depth - 1)

    try:
        deeper(200)
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(logged)
    assert len(line["stack"]) == FRAMES_MAX


def test_libraries_are_not_believed(logged: io.StringIO) -> None:
    logging.getLogger("a.library").warning("row %s is wrong\nrow: %s", CANARY, CANARY)
    logging.getLogger("a.library").info("chatter")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 4711)
    logging.getLogger("uvicorn.access").info('GET "/v1/bookings?family_name=%s"', CANARY)
    told, server = lines(logged)
    assert (told["event"], told["logger"], told["level"]) == (
        "row %s is wrong",
        "a.library",
        "warning",
    )
    assert server["event"] == "Started server process [4711]"


async def test_a_lost_task_is_told_without_its_error(logged: io.StringIO) -> None:
    async def fail() -> None:
        raise RuntimeError(CANARY)

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    loop.default_exception_handler(
        {
            "message": "Task exception was never retrieved",
            "exception": task.exception(),
            "future": task,
        }
    )
    (line,) = lines(logged)
    assert line["event"] == "Task exception was never retrieved"
    assert CANARY not in json.dumps(line)


def test_metrics_of_several_processes_are_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    program = (
        "from app.telemetry.metrics import HTTP_REQUESTS, render_metrics\n"
        "HTTP_REQUESTS.labels('GET', '/x', '200').inc()\n"
        "print(render_metrics().decode())"
    )
    for expected in ("1.0", "2.0"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        sample = 'holdfast_http_requests_total{method="GET",route="/x",status="200"} '
        assert sample + expected in run.stdout
