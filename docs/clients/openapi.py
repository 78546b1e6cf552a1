"""Writes the OpenAPI document without starting anything: `python docs/clients/openapi.py FILE`.

It is the document of `holdfast dev`, with today's examples; for linters and generators of clients.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from app.main import application
from app.settings import Settings


def document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        settings = Settings.from_environment(
            {
                "DATA_DIR": folder,
                "DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/nothing",
                "REDIS_URL": "redis://127.0.0.1:1/0",
                "DEV_IDENTITY": "1",
            }
        )
        return application(settings).openapi()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
