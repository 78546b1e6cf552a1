"""The stand-in for EventBridge, run as in its image; the shipped adapter publishes to it."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.adapters.eventbridge import EventBridge
from app.dev.child import Child, Program
from app.dev.data_dir import free_port
from app.outbox.publisher import Accepted
from tests.builders.facts import an_event
from tests.docker.files import healthcheck, runnable, services


async def test_it_has_a_bus_whose_events_are_kept_in_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = services()["moto"]["environment"]
    environment = {**bus, "HOST": "127.0.0.1", "PORT": str(free_port())}
    for name, value in bus.items():
        monkeypatch.setenv(name, value)
    assert healthcheck("moto", environment).returncode == 1
    moto = await Child.start(
        Program(
            name="moto",
            command=runnable(["stand-in", "serve"]),
            pid_file=tmp_path / "pid",
            log=tmp_path / "log",
            stop_signals=((signal.SIGTERM, 10.0),),
            environment={"PATH": os.environ["PATH"], **environment},
        )
    )
    url = f"http://127.0.0.1:{environment['PORT']}"
    publisher = EventBridge(bus["EVENT_BUS_NAME"], region=bus["AWS_REGION"], endpoint_url=url)
    try:
        async with asyncio.timeout(60):
            while healthcheck("moto", environment).returncode != 0:
                assert moto.running
                await asyncio.sleep(0.1)
        event = an_event()
        assert await publisher.publish([event]) == [Accepted()]

        for _ in range(2):  # to look takes nothing away
            (received,) = _events(environment)
            assert received["source"] == "holdfast"
            assert received["detail-type"] == event.type
            assert received["detail"]["id"] == event.id

        moto.process.send_signal(signal.SIGTERM)
        assert await moto.wait() == 0
    finally:
        await publisher.close()
        await moto.kill()


def _events(environment: dict[str, str]) -> list[dict[str, Any]]:
    printed = subprocess.run(
        runnable(["stand-in", "events"]),
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in printed.stdout.splitlines()]
