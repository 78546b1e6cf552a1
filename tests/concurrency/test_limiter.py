"""A burst waits in order; a request that could not be served in time is refused at once."""

import asyncio

import pytest

from app.concurrency.detached import DetachedTasks
from app.concurrency.limiter import Limiter
from app.errors import Overloaded


async def test_waiting_is_bounded_in_time() -> None:
    limiter = Limiter(concurrency=1, queue=1, wait_seconds=0.02)
    async with limiter.permit():
        with pytest.raises(Overloaded):
            async with limiter.permit():
                raise AssertionError("two at once")
    async with limiter.permit():
        pass


async def test_first_come_first_served() -> None:
    limiter = Limiter(concurrency=1, queue=9)
    served: list[int] = []

    async def one(number: int) -> None:
        async with limiter.permit():
            served.append(number)

    async with limiter.permit():
        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert served == list(range(5))


async def test_a_request_that_would_wait_too_long_is_refused_at_once() -> None:
    limiter = Limiter(concurrency=1, queue=1000, wait_seconds=2.0)
    loop = asyncio.get_running_loop()

    async def one(seconds: float) -> float:
        asked_at = loop.time()
        async with limiter.permit():
            waited = loop.time() - asked_at
            await asyncio.sleep(seconds)
        return waited

    await asyncio.gather(*(one(0.01) for _ in range(30)))  # so the rate is known
    asked_at = loop.time()
    answers = [asyncio.create_task(one(0.01)) for _ in range(600)]
    await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    refused = [answer for answer in answers if answer.done()]
    assert loop.time() - asked_at < 1.5  # long before the longest wait ends
    others = await asyncio.gather(*answers, return_exceptions=True)
    waited = [answer for answer in others if isinstance(answer, float)]
    assert len(refused) > 100
    assert len(waited) > 20


async def test_a_slow_period_does_not_refuse_the_requests_after_it() -> None:
    limiter = Limiter(concurrency=2, queue=1000, wait_seconds=0.2)
    gate = asyncio.Event()

    async def one() -> None:
        async with limiter.permit():
            await gate.wait()

    slow = [asyncio.create_task(one()) for _ in range(4)]
    await asyncio.wait(slow, timeout=0.3)  # two run and two waited too long
    gate.set()
    ended = await asyncio.gather(*slow, return_exceptions=True)
    assert [isinstance(one, Overloaded) for one in ended] == [False, False, True, True]
    await asyncio.gather(*(one() for _ in range(200)))


async def test_an_old_rate_is_forgotten() -> None:
    limiter = Limiter(concurrency=1, queue=1000, wait_seconds=0.4)

    async def one(seconds: float) -> None:
        async with limiter.permit():
            await asyncio.sleep(seconds)

    await asyncio.gather(*(one(0.1) for _ in range(4)))  # ten a second
    refused = await asyncio.gather(*(one(0) for _ in range(50)), return_exceptions=True)
    assert any(isinstance(answer, Overloaded) for answer in refused)
    await asyncio.sleep(0.9)  # what is tested is that time passes
    await asyncio.gather(*(one(0) for _ in range(50)))


async def test_a_caller_that_leaves_the_queue_takes_no_permit() -> None:
    limiter = Limiter(concurrency=1, queue=2)

    async def one() -> None:
        async with limiter.permit():
            pass

    async with limiter.permit():
        leaving = asyncio.create_task(one())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
    await asyncio.wait_for(one(), 1)


async def test_a_change_keeps_its_permit_until_it_has_ended() -> None:
    limiter = Limiter(concurrency=1, queue=0)
    tasks = DetachedTasks()
    go = asyncio.Event()

    async def change() -> None:
        await go.wait()

    async def request() -> None:
        async with limiter.permit():
            await tasks.run(change())

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(Overloaded):
        async with limiter.permit():
            pass
    go.set()
    await tasks.drain(1)
    await asyncio.sleep(0)
    async with limiter.permit():
        pass
