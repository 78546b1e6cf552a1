"""Which callers share an execution: with `join` also later ones, with `join_next` only earlier ones."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from app.concurrency.single_flight import SingleFlight

_CALLER: ContextVar[str] = ContextVar("_CALLER", default="of no caller")


class Work:
    """Counts its executions; each returns its number when it is released."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self._begins: asyncio.Queue[int] = asyncio.Queue()
        self.gates: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        self._begins.put_nowait(number)
        self.gates.append(asyncio.get_running_loop().create_future())
        try:
            await self.gates[number - 1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return number

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.begun < count:
                await self._begins.get()

    def release(self, number: int) -> None:
        self.gates[number - 1].set_result(None)


@pytest.fixture
def flights() -> SingleFlight[str, int]:
    return SingleFlight()


@pytest.fixture
def work() -> Work:
    return Work()


def asking(
    flights: SingleFlight[str, int],
    work: Callable[[], Awaitable[int]],
    count: int,
    key: str = "key",
) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(flights.join_next(key, work)) for _ in range(count)]


def joining(
    flights: SingleFlight[str, int], work: Callable[[], Awaitable[int]], count: int
) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(flights.join("key", work)) for _ in range(count)]


async def test_concurrent_callers_share(flights: SingleFlight[str, int], work: Work) -> None:
    asked = asking(flights, work, 5)
    await work.until_begun(1)
    work.release(1)
    assert await asyncio.gather(*asked) == [1] * 5


async def test_a_caller_that_comes_meanwhile_shares_the_next(
    flights: SingleFlight[str, int], work: Work
) -> None:
    """The execution under way may have read what was true before the question."""
    first = asking(flights, work, 1)
    await work.until_begun(1)
    later = asking(flights, work, 3)
    await asyncio.sleep(0)
    assert work.begun == 1, "one at a time"
    work.release(1)
    assert await first[0] == 1
    await work.until_begun(2)
    latest = asking(flights, work, 2)
    await asyncio.sleep(0)
    work.release(2)
    assert await asyncio.gather(*later) == [2] * 3
    await work.until_begun(3)
    work.release(3)
    assert await asyncio.gather(*latest) == [3] * 2


async def test_nothing_is_kept(flights: SingleFlight[str, int], work: Work) -> None:
    for number in (1, 2):
        (asked,) = asking(flights, work, 1)
        await work.until_begun(number)
        work.release(number)
        assert await asked == number


async def test_other_keys_do_not_wait(flights: SingleFlight[str, int], work: Work) -> None:
    (one,) = asking(flights, work, 1, "one")
    (other,) = asking(flights, work, 1, "other")
    await work.until_begun(2)
    work.release(2)
    assert await other == 2
    work.release(1)
    assert await one == 1


async def test_a_failure_is_raised_to_all_callers_and_not_to_the_next(
    flights: SingleFlight[str, int],
) -> None:
    failing = True

    async def work() -> int:
        await asyncio.sleep(0)
        if failing:
            raise ValueError("no")
        return 7

    asked = asking(flights, work, 3)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 3
    failing = False
    assert await flights.join_next("key", work) == 7


async def test_a_caller_that_leaves_does_not_end_the_execution(
    flights: SingleFlight[str, int], work: Work
) -> None:
    leaving, staying = asking(flights, work, 2)
    await work.until_begun(1)
    leaving.cancel()
    await asyncio.wait([leaving])
    work.release(1)
    assert await staying == 1
    assert work.cancelled == 0


async def test_an_execution_without_a_caller_is_cancelled(
    flights: SingleFlight[str, int], work: Work
) -> None:
    (leaving,) = asking(flights, work, 1)
    await work.until_begun(1)
    leaving.cancel()
    (asked,) = asking(flights, work, 1)
    await work.until_begun(2)
    assert work.cancelled == 1
    work.release(2)
    assert await asked == 2


async def test_an_execution_that_was_never_begun_is_dropped(
    flights: SingleFlight[str, int], work: Work
) -> None:
    (first,) = asking(flights, work, 1)
    await work.until_begun(1)
    (leaving,) = asking(flights, work, 1)
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    work.release(1)
    assert await first == 1
    (asked,) = asking(flights, work, 1)
    await work.until_begun(2)
    work.release(2)
    assert await asked == 2


async def test_all_callers_leave_before_it_begins(
    flights: SingleFlight[str, int], work: Work
) -> None:
    """Its task is made and has not run yet: a caller that comes now shares nothing with it."""
    leaving = flights.join_next("key", work)
    leaving.send(None)
    with pytest.raises(asyncio.CancelledError):
        leaving.throw(asyncio.CancelledError())
    (asked,) = asking(flights, work, 1)
    await work.until_begun(1)
    work.release(1)
    assert await asked == 1


async def test_the_work_runs_in_a_context_of_its_own(flights: SingleFlight[str, str]) -> None:
    async def work() -> str:
        return _CALLER.get()

    _CALLER.set("mine")
    assert await flights.join_next("key", work) == "of no caller"


async def test_a_caller_may_join_the_execution_under_way(
    flights: SingleFlight[str, int], work: Work
) -> None:
    first = joining(flights, work, 1)
    await work.until_begun(1)
    later = joining(flights, work, 3)
    await asyncio.sleep(0)
    work.release(1)
    assert await asyncio.gather(*first, *later) == [1] * 4
    (after,) = joining(flights, work, 1)
    await work.until_begun(2)
    work.release(2)
    assert await after == 2, "nothing is kept"


async def test_a_joined_execution_goes_on_without_the_caller_that_began_it(
    flights: SingleFlight[str, int], work: Work
) -> None:
    (first,) = joining(flights, work, 1)
    await work.until_begun(1)
    (later,) = joining(flights, work, 1)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    work.release(1)
    assert await later == 1


async def test_an_abandoned_execution_is_not_joined(
    flights: SingleFlight[str, int], work: Work
) -> None:
    (leaving,) = joining(flights, work, 1)
    await work.until_begun(1)
    leaving.cancel()
    (joined,) = joining(flights, work, 1)
    await work.until_begun(2)
    assert work.cancelled == 1
    work.release(2)
    assert await joined == 2


async def test_a_forgotten_execution_answers_its_callers_and_no_later_one(
    flights: SingleFlight[str, int], work: Work
) -> None:
    (before,) = joining(flights, work, 1)
    await work.until_begun(1)
    flights.forget("key")
    (after,) = joining(flights, work, 1)
    await work.until_begun(2)
    work.release(1)
    assert await before == 1
    (joined,) = joining(flights, work, 1)
    await asyncio.sleep(0)
    work.release(2)
    assert (await after, await joined) == (2, 2)
    assert work.begun == 2
