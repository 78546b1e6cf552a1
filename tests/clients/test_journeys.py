"""Clients generated from the OpenAPI document by public tools sell a seat, with the scripts of docs/clients.

Needs the registries of Python and Node.js packages, and takes a minute: `make test-clients`.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from app.clock import utc_now
from app.dev.example import example_flight
from app.transport.http.openapi.examples import DAYS_AHEAD
from tests.builders.wire import put_flight
from tests.fixtures.api import Api, environment

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
SECONDS = 300


@pytest.mark.parametrize("language", ["python", "typescript"])
async def test_a_generated_client_sells_a_seat(language: str, api: Api, tmp_path: Path) -> None:
    flight = example_flight(utc_now().date() + DAYS_AHEAD)
    await put_flight(
        api.ops,
        origin=flight.origin,
        destination=flight.destination,
        departure_date=flight.departing_at.local.date(),
    )
    script = await asyncio.create_subprocess_exec(
        str(CLIENTS / language / "run"),
        api.url,
        env=environment(tmp_path, "", "", PYTHON=sys.executable, **way_to_registries()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(script.communicate(), SECONDS)
    assert script.returncode == 0, errors.decode()
    told = dict(line.split(maxsplit=1) for line in output.decode().splitlines()[-5:])
    assert list(told) == ["offer", "hold", "booking", "again", "event"]
    assert told["again"] == "hold_not_active"
    assert told["event"] == "booking.confirmed"


def way_to_registries() -> dict[str, str]:
    """This machine's settings for network access: a proxy, or certificates of its own."""
    names = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
    prefixes = ("npm_config_", "pip_", "http_proxy", "https_proxy", "no_proxy")
    return {
        name: value
        for name, value in os.environ.items()
        if name in names or name.lower().startswith(prefixes)
    }
