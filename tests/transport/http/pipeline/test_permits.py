"""Requests of a worker wait for a permit in order; probes and refusals of tokens need none."""

import asyncio

from app.transport.http.application import Limits
from tests.transport.http.tiny import GOOD, Tiny, client_of, tiny_app, until


async def test_a_burst_queues_in_order_before_it_is_refused() -> None:
    gate = asyncio.Event()
    running = 0
    most = 0

    async def act() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    app = tiny_app(Tiny(act=act), limits=Limits(concurrency=2, queue=3))
    async with client_of(app) as client:
        requests = [asyncio.create_task(client.get("/v1/holds", headers=GOOD)) for _ in range(9)]
        await until(lambda: sum(request.done() for request in requests) == 4)
        refused = [request.result() for request in requests if request.done()]
        probe = await client.get("/livez")
        metrics = await client.get("/metrics")
        gate.set()
        answers = await asyncio.gather(*requests)
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert (probe.status_code, metrics.status_code) == (200, 200)
    assert "holdfast_admission_waiting 3.0" in metrics.text
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [503] * 4
    assert most == 2


async def test_a_token_is_checked_without_a_permit() -> None:
    gate = asyncio.Event()

    async def act() -> None:
        await gate.wait()

    tiny = Tiny(act=act)
    app = tiny_app(tiny, limits=Limits(concurrency=1, queue=0))
    async with client_of(app) as client:
        first = asyncio.create_task(client.get("/v1/holds", headers=GOOD))
        await until(lambda: bool(tiny.calls))
        stranger = await client.get("/v1/holds")
        gate.set()
        await first
    assert stranger.status_code == 401
