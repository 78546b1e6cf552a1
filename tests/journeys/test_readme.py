"""The README's curl session does what it says, word for word."""

import asyncio
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.builders.wire import flight_body, new_flight_id
from tests.fixtures.api import Api

README = Path(__file__).parents[2] / "README.md"
SESSION = re.compile(r"```sh\n(.*?)```", re.DOTALL)


async def test_the_session_runs_as_printed(api: Api) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.fail("the README's session needs bash and curl")
    day = (datetime.now(UTC) + timedelta(days=14)).date()
    flight = flight_body(
        origin="SCL",
        destination="LIM",
        departure_date=day,
        classes=(("Y", 9, "129.90"), ("M", 6, "89.90")),
        currency="USD",
    )
    put = await api.ops.put(f"/v1/flights/{new_flight_id()}", json=flight)
    assert put.status_code == 201, put.text
    (session,) = SESSION.findall(README.read_text(encoding="utf-8"))
    script = session.replace("BASE=http://localhost:8000", f"BASE=http://localhost:{api.port}")
    assert script != session

    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 0, err.decode()
    locator, event = out.decode().split()
    assert re.fullmatch(r"[A-HJKMNP-Z2-9]{6}", locator)
    assert event == "booking.confirmed"
