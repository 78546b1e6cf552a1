"""A burst waits its turn; what cannot be answered in time is refused at once."""

import asyncio

import pytest

from app.concurrency.detached import DetachedTasks
from app.concurrency.limiter import Limiter
from app.errors import Overloaded
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


async def test_waiting_is_bounded_in_time() -> None:
    admission = Limiter(concurrency=1, queue=1, wait_seconds=0.02)
    async with admission.turn():
        with pytest.raises(Overloaded):
            async with admission.turn():
                raise AssertionError("two at once")
    async with admission.turn():
        pass


async def test_first_come_first_served() -> None:
    admission = Limiter(concurrency=1, queue=9)
    served: list[int] = []

    async def one(number: int) -> None:
        async with admission.turn():
            served.append(number)

    async with admission.turn():
        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert served == list(range(5))


async def test_who_would_wait_in_vain_is_refused_at_once() -> None:
    admission = Limiter(concurrency=1, queue=1000, wait_seconds=2.0)
    loop = asyncio.get_running_loop()

    async def one(seconds: float) -> float:
        asked_at = loop.time()
        async with admission.turn():
            waited = loop.time() - asked_at
            await asyncio.sleep(seconds)
        return waited

    await asyncio.gather(*(one(0.01) for _ in range(30)))  # so the pace is known
    asked_at = loop.time()
    answers = [asyncio.create_task(one(0.01)) for _ in range(600)]
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refused = [answer for answer in answers if answer.done()]
    assert loop.time() - asked_at < 1.5  # long before anybody's patience ends
    others = await asyncio.gather(*answers, return_exceptions=True)
    waited = [answer for answer in others if isinstance(answer, float)]
    assert len(refused) > 100
    assert len(waited) > 20


async def test_a_slow_past_does_not_refuse_for_ever() -> None:
    admission = Limiter(concurrency=2, queue=1000, wait_seconds=0.2)
    gate = asyncio.Event()

    async def one() -> None:
        async with admission.turn():
            await gate.wait()

    slow = [asyncio.create_task(one()) for _ in range(4)]
    await asyncio.wait(slow, timeout=0.3)  # two run and two waited too long
    gate.set()
    ended = await asyncio.gather(*slow, return_exceptions=True)
    assert [isinstance(one, Overloaded) for one in ended] == [False, False, True, True]
    await asyncio.gather(*(one() for _ in range(200)))


async def test_a_pace_is_forgotten() -> None:
    admission = Limiter(concurrency=1, queue=1000, wait_seconds=0.4)

    async def one(seconds: float) -> None:
        async with admission.turn():
            await asyncio.sleep(seconds)

    await asyncio.gather(*(one(0.1) for _ in range(4)))  # ten a second
    refused = await asyncio.gather(*(one(0) for _ in range(50)), return_exceptions=True)
    assert any(isinstance(answer, Overloaded) for answer in refused)
    await asyncio.sleep(0.9)  # what is tested is that time passes
    await asyncio.gather(*(one(0) for _ in range(50)))


async def test_who_leaves_the_queue_takes_no_turn_along() -> None:
    admission = Limiter(concurrency=1, queue=2)

    async def one() -> None:
        async with admission.turn():
            pass

    async with admission.turn():
        leaving = asyncio.create_task(one())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
    await asyncio.wait_for(one(), 1)


async def test_a_change_keeps_its_turn_until_it_has_ended() -> None:
    admission = Limiter(concurrency=1, queue=0)
    mutations = DetachedTasks()
    go = asyncio.Event()

    async def change() -> None:
        await go.wait()

    async def request() -> None:
        async with admission.turn():
            await mutations.run(change())

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(Overloaded):
        async with admission.turn():
            pass
    go.set()
    await mutations.drain(1)
    await asyncio.sleep(0)
    async with admission.turn():
        pass


async def test_tokens_are_judged_without_a_turn() -> None:
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
