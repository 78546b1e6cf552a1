"""The addresses of the stores of a running `holdfast dev`, for commands with the same DATA_DIR.

The file has passwords and only its owner can read it; it exists while the stack is running.
"""

import json
from pathlib import Path

from pydantic import SecretStr

from app.dev.data_dir import write_private
from app.settings import Settings

_FILE = "stores.json"


def publish(data_dir: Path, database_url: str, redis_url: str) -> None:
    addresses = {"database_url": database_url, "redis_url": redis_url}
    write_private(data_dir / _FILE, json.dumps(addresses))


def withdraw(data_dir: Path) -> None:
    (data_dir / _FILE).unlink(missing_ok=True)


def with_running_stores(settings: Settings) -> Settings:
    """The settings, with missing addresses taken from the stack that runs on DATA_DIR."""
    try:
        addresses = json.loads((settings.data_dir / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return settings
    missing = {
        name: SecretStr(addresses[name])
        for name in ("database_url", "redis_url")
        if getattr(settings, name) is None
    }
    return settings.model_copy(update=missing)
