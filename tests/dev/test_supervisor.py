"""`holdfast dev` from the outside: what it prints, what it leaves, what it refuses."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from app.dev.child import is_alive
from app.dev.data_dir import free_port, locked

_COMMAND = [sys.executable, "-m", "app.cli", "dev"]


def _environment(data_dir: Path, port: int | str, **more: str) -> dict[str, str]:
    return {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(port), **more}


@contextmanager
def _running(data_dir: Path, port: int) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The supervisor once it has said that all is ready, and the token that it printed."""
    with (
        (data_dir.parent / "stderr").open("a") as errors,
        subprocess.Popen(
            _COMMAND,
            env=_environment(data_dir, port, WORKERS="2"),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            token = next(
                (line for line in process.stdout if line.startswith("TOKEN=")), "TOKEN=none"
            )
            yield process, token.removeprefix("TOKEN=").strip()
        finally:
            process.kill()


def _family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def _still_alive(family: list[psutil.Process]) -> list[psutil.Process]:
    psutil.wait_procs(family, timeout=30)
    return [process for process in family if is_alive(process)]


def _get(port: int, path: str, token: str) -> int:
    return httpx.get(
        f"http://127.0.0.1:{port}{path}",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=10,
    ).status_code


def test_killed_it_leaves_nothing_and_comes_back_with_all_it_had(tmp_path: Path) -> None:
    data_dir, port = tmp_path / "data", free_port()
    with _running(data_dir, port) as (process, token):
        assert _get(port, "/v1/holds", token) == 200
        family = _family(process)
        assert len(family) >= 7  # two servers with their own, the API with two workers, the relay
        process.kill()
        process.wait()
        assert _still_alive(family) == []

    with _running(data_dir, port) as (process, _):
        assert _get(port, "/v1/holds", token) == 200  # the first token: the keys were kept
        said = (tmp_path / "stderr").read_text()
        loaded = re.findall(r"sample network: (\d+) flights added", said)
        assert len(loaded) == 2
        assert int(loaded[0]) > 1000
        assert loaded[1] == "0"
        family = _family(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert [relative for relative in family if is_alive(relative)] == []
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def _refusal(environment: dict[str, str]) -> str:
    """What it says when it does not start: exactly one line, and exit code 2."""
    ended = subprocess.run(
        _COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in _refusal(_environment(tmp_path / "data", port))
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_data_dir_in_use_is_said(tmp_path: Path) -> None:
    with locked(tmp_path / "data"):
        line = _refusal(_environment(tmp_path / "data", free_port()))
    assert "in use by another Holdfast" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "eighty"), ("HOLDFAST_PORT", "8000"), ("WORKERS", "0"), ("HOST", "no.such.host")],
)
def test_a_broken_setting_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    environment = _environment(tmp_path / "data", free_port())
    assert name.removeprefix("HOLDFAST_") in _refusal({**environment, name: value})
