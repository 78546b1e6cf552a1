"""Work that nobody waits for ends well, goes on, and takes nothing with it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.concurrency import background
from app.concurrency.background import Background, repeat
from app.errors import DatabaseUnavailable


async def test_what_is_started_is_awaited_at_the_end() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    ours = Background()
    for number in range(5):
        await ours.start("work", work(number))
    await ours.drain(5)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_a_failure_is_nobodys_and_a_full_house_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TASKS_MAX", 1)
    blocked = asyncio.Event()
    done: list[str] = []

    async def failing() -> None:
        done.append("failed")
        raise RuntimeError("no")

    ours = Background()
    await ours.start("blocked", blocked.wait())
    await ours.start("failing", failing())
    assert done == ["failed"], "with no place left it is done before start returns"
    blocked.set()
    await ours.drain(5)


async def test_what_does_not_end_is_cut_off() -> None:
    ours = Background()
    await ours.start("endless", asyncio.Event().wait())
    await asyncio.wait_for(ours.drain(0.01), 5)


@pytest.mark.parametrize("failure", [DatabaseUnavailable(), RuntimeError("a mistake of ours")])
async def test_repeated_work_goes_on_after_a_failure(failure: Exception) -> None:
    stop, runs = asyncio.Event(), 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            stop.set()
        raise failure

    every: Callable[[], Awaitable[object]] = work
    await asyncio.wait_for(repeat("work", every, 0.001, stop), 5)
    assert runs == 3
