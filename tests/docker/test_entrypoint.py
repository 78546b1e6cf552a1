"""The image's program as process 1: it ends on SIGTERM, and writes only to DATA_DIR.

Where the machine lets the tests make namespaces the program really is process 1 there; elsewhere it
is a process like any other, and the rest still holds.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest

from app.dev.data_dir import free_port
from tests.docker.files import ROOT, healthcheck, image_environment, runnable

_PATIENCE_SECONDS = 40


@dataclass(frozen=True, slots=True)
class Container:
    """One running role; `process_1` is the program itself, whatever stands around it."""

    around: subprocess.Popen[str]
    process_1: psutil.Process

    def end(self) -> int:
        """As `docker stop` does; the exit code."""
        self.process_1.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.around.wait(_PATIENCE_SECONDS)
        return code if code >= 0 else 128 - code


Run = Callable[..., Container]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The image's files, as .dockerignore lets them through."""
    root = tmp_path / "image"
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", root)
    return root


@pytest.fixture
def run(image: Path, tmp_path: Path) -> Iterator[Run]:
    """`run("api", environment)`; what is still running at the end is killed."""
    running: list[Container] = []
    temporary, home = tmp_path / "tmp", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()

    def start(role: str, environment: Mapping[str, str]) -> Container:
        log = (tmp_path / f"{role}.log").open("a")
        around = subprocess.Popen(
            [*_in_namespace(), *runnable(["holdfast", role])],
            env={
                "PATH": os.environ["PATH"],
                **image_environment(),
                "HOST": "127.0.0.1",
                "PYTHONPATH": str(image),
                "TMPDIR": str(temporary),
                "HOME": str(home),
                "DATA_DIR": str(tmp_path / "data"),
                **environment,
            },
            cwd=image,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        running.append(Container(around, _process_1(around)))
        return running[-1]

    before = _files(image)
    yield start
    for container in running:
        for process in (container.process_1, container.around):
            if process.pid and psutil.pid_exists(process.pid):
                process.kill()
        container.around.wait()
    assert _files(image) == before, "the image's own files are never touched"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_api_ends_on_sigterm(
    run: Run, empty_database: str, empty_redis: str, workers: str
) -> None:
    environment = {
        "DATABASE_URL": empty_database,
        "REDIS_URL": empty_redis,
        "PORT": str(free_port()),
        "WORKERS": workers,
    }
    api = run("api", environment)
    _wait_until(lambda: healthcheck("api", {"PORT": environment["PORT"]}).returncode == 0, api)
    members = [api.process_1, *api.process_1.children(recursive=True)]

    assert api.end() == 0
    assert psutil.wait_procs(members, timeout=3)[1] == []


def test_the_relay_ends_on_sigterm(run: Run, empty_database: str) -> None:
    port = str(free_port())
    relay = run("relay", {"DATABASE_URL": empty_database, "METRICS_PORT": port})
    _wait_until(lambda: healthcheck("relay", {"METRICS_PORT": port}).returncode == 0, relay)

    assert relay.end() == 0


@pytest.mark.parametrize(("role", "code"), [("api", 0), ("relay", 0), ("migrate", 128 + 15)])
def test_a_role_that_is_still_starting_ends_as_well(
    run: Run, empty_redis: str, role: str, code: int
) -> None:
    """Its database never answers, so whatever it does, it is not done."""
    with _silent_server() as url:
        container = run(role, {"DATABASE_URL": url, "REDIS_URL": empty_redis})
        _wait_until(lambda: _handles_sigterm(container.process_1), container)

        assert container.end() == code


def test_the_tasks_run_to_their_end_in_order(
    run: Run, blank_database: str, empty_redis: str
) -> None:
    stores = {"DATABASE_URL": blank_database, "REDIS_URL": empty_redis}

    assert run("migrate", stores).wait() == 0
    assert run("sample", stores).wait() == 0


def test_the_sample_is_refused_in_production(run: Run, tmp_path: Path) -> None:
    given = {
        "ENVIRONMENT": "production",
        "DATABASE_URL": "postgresql+asyncpg://nowhere/nothing",
        "REDIS_URL": "redis://nowhere",
        "SIGNING_KEYS": f'["{"k" * 32}"]',
    }

    assert run("sample", given).wait() == 2
    assert (tmp_path / "sample.log").read_text() == (
        "holdfast: the sample network cannot be loaded if ENVIRONMENT=production\n"
    )


def test_an_unknown_role_is_refused(run: Run) -> None:
    assert run("sell", {}).wait() == 2


@cache
def _in_namespace() -> tuple[str, ...]:
    """What makes the program process 1 of its own namespace, where that can be had."""
    for mapping in ((), ("--user", "--map-root-user")):
        prefix = ("unshare", *mapping, "--fork", "--pid", "--kill-child")
        if shutil.which("unshare") and subprocess.run([*prefix, "true"]).returncode == 0:
            return prefix
    return ()


def _process_1(around: subprocess.Popen[str]) -> psutil.Process:
    outer = psutil.Process(around.pid)
    if not _in_namespace():
        return outer
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not outer.children():
        assert time.monotonic() < deadline, "unshare starts nothing"
        time.sleep(0.005)
    return outer.children()[0]


def _wait_until(condition: Callable[[], bool], container: Container) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert container.around.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def _handles_sigterm(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():  # not Linux: then it is not process 1 either
        return True
    (caught,) = (line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGTERM - 1)


@contextmanager
def _silent_server() -> Iterator[str]:
    """The address of a database that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql+asyncpg://silent@127.0.0.1:{server.getsockname()[1]}/silent"


def _files(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}
