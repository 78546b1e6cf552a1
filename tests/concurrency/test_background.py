"""Fire-and-forget work is drained and bounded; a periodic job goes on after a failure."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.concurrency import background
from app.concurrency.background import Background, repeat
from app.errors import DatabaseUnavailable


async def test_a_drain_waits_for_the_tasks_under_way() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    background_tasks = Background()
    for number in range(5):
        await background_tasks.start("work", work(number))
    await background_tasks.drain(5)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_a_failure_is_not_raised_and_work_beyond_the_bound_runs_inline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "TASKS_MAX", 1)
    blocked = asyncio.Event()
    done: list[str] = []

    async def failing() -> None:
        done.append("failed")
        raise RuntimeError("no")

    background_tasks = Background()
    await background_tasks.start("blocked", blocked.wait())
    await background_tasks.start("failing", failing())
    assert done == ["failed"], "beyond the bound the work is done before start returns"
    blocked.set()
    await background_tasks.drain(5)


async def test_a_task_that_does_not_end_is_cancelled() -> None:
    background_tasks = Background()
    await background_tasks.start("endless", asyncio.Event().wait())
    await asyncio.wait_for(background_tasks.drain(0.01), 5)


@pytest.mark.parametrize("failure", [DatabaseUnavailable(), RuntimeError("a defect")])
async def test_a_periodic_job_goes_on_after_a_failure(failure: Exception) -> None:
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
