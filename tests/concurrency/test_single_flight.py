"""Who shares an answer: those who asked before it was begun, and nobody who came later."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from app.concurrency.single_flight import SingleFlight

_WHOSE: ContextVar[str] = ContextVar("_WHOSE", default="nobody's")


class Work:
    """Counts how often it was begun; ends when it is let go, with its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.cut_off = 0
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
            self.cut_off += 1
            raise
        return number

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.begun < count:
                await self._begins.get()

    def let_go(self, number: int) -> None:
        self.gates[number - 1].set_result(None)


@pytest.fixture
def shared() -> SingleFlight[str, int]:
    return SingleFlight()


@pytest.fixture
def work() -> Work:
    return Work()


def asking(
    shared: SingleFlight[str, int],
    work: Callable[[], Awaitable[int]],
    count: int,
    key: str = "key",
) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(shared.get(key, work)) for _ in range(count)]


async def test_who_asks_at_once_shares(shared: SingleFlight[str, int], work: Work) -> None:
    asked = asking(shared, work, 5)
    await work.until_begun(1)
    work.let_go(1)
    assert await asyncio.gather(*asked) == [1] * 5


async def test_who_asks_meanwhile_shares_the_next(
    shared: SingleFlight[str, int], work: Work
) -> None:
    """The answer under way may have read what was before the question."""
    first = asking(shared, work, 1)
    await work.until_begun(1)
    later = asking(shared, work, 3)
    await asyncio.sleep(0)
    assert work.begun == 1, "one at a time"
    work.let_go(1)
    assert await first[0] == 1
    await work.until_begun(2)
    latest = asking(shared, work, 2)
    await asyncio.sleep(0)
    work.let_go(2)
    assert await asyncio.gather(*later) == [2] * 3
    await work.until_begun(3)
    work.let_go(3)
    assert await asyncio.gather(*latest) == [3] * 2


async def test_nothing_is_kept(shared: SingleFlight[str, int], work: Work) -> None:
    for number in (1, 2):
        (asked,) = asking(shared, work, 1)
        await work.until_begun(number)
        work.let_go(number)
        assert await asked == number


async def test_other_keys_do_not_wait(shared: SingleFlight[str, int], work: Work) -> None:
    (one,) = asking(shared, work, 1, "one")
    (other,) = asking(shared, work, 1, "other")
    await work.until_begun(2)
    work.let_go(2)
    assert await other == 2
    work.let_go(1)
    assert await one == 1


async def test_a_failure_is_all_of_theirs_and_not_the_nexts(shared: SingleFlight[str, int]) -> None:
    failing = True

    async def work() -> int:
        await asyncio.sleep(0)
        if failing:
            raise ValueError("no")
        return 7

    asked = asking(shared, work, 3)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 3
    failing = False
    assert await shared.get("key", work) == 7


async def test_one_who_leaves_takes_nothing_from_the_others(
    shared: SingleFlight[str, int], work: Work
) -> None:
    leaving, staying = asking(shared, work, 2)
    await work.until_begun(1)
    leaving.cancel()
    await asyncio.wait([leaving])
    work.let_go(1)
    assert await staying == 1
    assert work.cut_off == 0


async def test_what_nobody_waits_for_is_cut_off(shared: SingleFlight[str, int], work: Work) -> None:
    (leaving,) = asking(shared, work, 1)
    await work.until_begun(1)
    leaving.cancel()
    (asked,) = asking(shared, work, 1)
    await work.until_begun(2)
    assert work.cut_off == 1
    work.let_go(2)
    assert await asked == 2


async def test_what_was_never_begun_is_dropped(shared: SingleFlight[str, int], work: Work) -> None:
    (first,) = asking(shared, work, 1)
    await work.until_begun(1)
    (leaving,) = asking(shared, work, 1)
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    work.let_go(1)
    assert await first == 1
    (asked,) = asking(shared, work, 1)
    await work.until_begun(2)
    work.let_go(2)
    assert await asked == 2


async def test_all_leave_before_it_begins(shared: SingleFlight[str, int], work: Work) -> None:
    """Its task is made and has not had its first turn: who asks now shares nothing with it."""
    leaving = shared.get("key", work)
    leaving.send(None)
    with pytest.raises(asyncio.CancelledError):
        leaving.throw(asyncio.CancelledError())
    (asked,) = asking(shared, work, 1)
    await work.until_begun(1)
    work.let_go(1)
    assert await asked == 1


async def test_the_work_is_in_nobodys_context(shared: SingleFlight[str, str]) -> None:
    async def work() -> str:
        return _WHOSE.get()

    _WHOSE.set("mine")
    assert await shared.get("key", work) == "nobody's"
