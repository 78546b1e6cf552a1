"""Every log line is an event with a name, and every field it carries passes the allow-list.

A name is what alerts and searches match; a field that is not on the list would be dropped at run time.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import app
from app.telemetry.processors import ALLOWED

ROOT = Path(app.__file__).parent
LOGGERS = {"log", "_log", "logger", "_logger"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
SNAKE_CASE = re.compile(r"[a-z]+(_[a-z]+)*")
CONSUMED = {"exc_info"}  # becomes error_type and stack


def log_calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in LOGGERS
        ):
            yield node


def faults_of(call: ast.Call) -> Iterator[str]:
    first = call.args[0] if len(call.args) == 1 else None
    if not (
        isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and SNAKE_CASE.fullmatch(first.value)
    ):
        yield "its one positional argument must be a snake_case literal"
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg not in ALLOWED | CONSUMED:
            yield f"{keyword.arg} is not on the allow-list"


def test_every_event_is_snake_case_with_allowed_fields() -> None:
    calls = [
        (path.relative_to(ROOT), call)
        for path in sorted(ROOT.rglob("*.py"))
        for call in log_calls(path.read_text(encoding="utf-8"))
    ]
    assert len(calls) > 20, "the loggers have another name now"
    assert [
        f"{path}:{call.lineno}: {fault}" for path, call in calls for fault in faults_of(call)
    ] == []


def test_a_logger_has_the_name_that_is_searched_for() -> None:
    """Otherwise its calls would not be read."""
    strangers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        and ast.unparse(node.value).startswith(("structlog.get_logger", "get_logger"))
        and not {ast.unparse(target) for target in node.targets} <= LOGGERS
    ]
    assert strangers == []
