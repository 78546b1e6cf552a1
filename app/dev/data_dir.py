"""The folder of one running Holdfast, with its lock and secrets; and the choice of free ports."""

import fcntl
import os
import secrets
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.dev.errors import CannotStartError

_PORTS: Final = range(15_000, 32_000)
_PORTS_TRIED_MAX: Final = 1000
_recently_returned: Final = deque[int](maxlen=100)  # more than one test session starts at a time


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Locks `data_dir` for this process; the kernel releases the lock however the process ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("a+")
    except OSError as error:
        raise CannotStartError(
            f"DATA_DIR {data_dir} cannot be used: {error.strerror}; set another DATA_DIR"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CannotStartError(
                f"DATA_DIR {data_dir} is in use by another Holdfast (process "
                f"{lock.read().strip() or 'unknown'}); stop it, or set another DATA_DIR and PORT"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def kept_secret(file: Path) -> str:
    """The secret in `file`, generated at the first call; safe in a URL, readable by the owner alone."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def write_private(file: Path, text: str) -> None:
    """Writes all or nothing, so that an interrupted start leaves no partial secret."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


def free_port() -> int:
    """A port without a listener that was not returned recently, because its caller may not listen yet.

    It is below the range of outgoing connections, which could take it while its server restarts.
    """
    for _ in range(_PORTS_TRIED_MAX):
        port = secrets.choice(_PORTS)
        if port in _recently_returned or not _is_free(port):
            continue
        _recently_returned.append(port)
        return port
    raise CannotStartError(f"no port from {_PORTS.start} to {_PORTS.stop} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
