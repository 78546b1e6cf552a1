"""Fresh, stale and gone; one load a key; tags; bounds. Time is the test's own."""

import asyncio
from collections.abc import Awaitable

import pytest

from app.concurrency.background import Background
from app.concurrency.cache import Cache
from app.errors import DatabaseUnavailable


class Source:
    """Counts its loads, and holds them back while `open` is not set."""

    def __init__(self) -> None:
        self.loads = 0
        self.fails = False
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> str:
        self.loads += 1
        told = f"answer {self.loads}"
        self.begun.set()
        await self.open.wait()
        if self.fails:
            raise DatabaseUnavailable
        return told


class Kept:
    def __init__(self, weight_max: int = 100) -> None:
        self.now = 0.0
        self.source = Source()
        self.background = Background()
        self.cache: Cache[str, str] = Cache(
            self.background,
            fresh_seconds=1,
            stale_seconds=10,
            weight_max=weight_max,
            weigh=len,
            now=lambda: self.now,
        )

    async def get(self, key: str = "a", *tags: str) -> str:
        return await self.cache.get(key, tags, self.source.load)

    def hold_back(self) -> None:
        self.source.open.clear()
        self.source.begun.clear()

    async def begun(self) -> None:
        """Returns when a load was begun since this was last asked."""
        async with asyncio.timeout(5):
            await self.source.begun.wait()
        self.source.begun.clear()

    async def settled(self) -> None:
        await self.background.drain(5)


async def test_fresh_then_stale_while_it_is_loaded_again_then_gone() -> None:
    kept = Kept()
    assert await kept.get() == "answer 1"
    kept.now = 0.9
    assert await kept.get() == "answer 1"
    kept.now = 1.0
    kept.hold_back()
    assert [await kept.get() for _ in range(3)] == ["answer 1"] * 3, "and nobody waits"
    await kept.begun()
    assert kept.source.loads == 2
    kept.source.open.set()
    await kept.settled()
    assert await kept.get() == "answer 2"
    kept.now = 12.0
    assert await kept.get() == "answer 3", "older than stale"
    assert kept.source.loads == 3


async def test_an_age_is_counted_from_the_question() -> None:
    kept = Kept()
    kept.hold_back()
    first = asyncio.create_task(kept.get())
    await kept.begun()
    assert kept.source.loads == 1
    kept.now = 20.0
    kept.source.open.set()
    await first
    assert await kept.get() == "answer 2"


async def test_a_stampede_is_one_load() -> None:
    kept = Kept()
    kept.hold_back()
    asking = [asyncio.create_task(kept.get()) for _ in range(50)]
    await kept.begun()
    assert kept.source.loads == 1
    kept.source.open.set()
    assert set(await asyncio.gather(*asking)) == {"answer 1"}
    assert kept.source.loads == 1


async def test_a_failed_load_fails_all_who_wait_and_is_not_kept() -> None:
    kept = Kept()
    kept.source.fails = True
    kept.hold_back()
    asking = [asyncio.create_task(kept.get()) for _ in range(5)]
    await kept.begun()
    assert kept.source.loads == 1
    kept.source.open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(one) for one in found} == {DatabaseUnavailable}
    kept.source.fails = False
    assert await kept.get() == "answer 2"


async def test_a_refresh_that_fails_leaves_the_stale_answer() -> None:
    kept = Kept()
    await kept.get()
    kept.now, kept.source.fails = 5.0, True
    assert await kept.get() == "answer 1"
    await kept.settled()
    assert await kept.get() == "answer 1"
    await kept.settled()
    kept.now = 11.0
    with pytest.raises(DatabaseUnavailable):
        await kept.get()


@pytest.mark.parametrize("who", ["loader", "waiter"])
async def test_one_who_leaves_takes_nobody_along(who: str) -> None:
    kept = Kept()
    kept.hold_back()
    loader, waiter, other = (asyncio.create_task(kept.get()) for _ in range(3))
    await kept.begun()
    assert kept.source.loads == 1
    (loader if who == "loader" else waiter).cancel()
    await asyncio.sleep(0)
    kept.source.open.set()
    expected = "answer 2" if who == "loader" else "answer 1"
    assert await other == expected
    rest: list[Awaitable[str]] = [waiter if who == "loader" else loader]
    assert await asyncio.gather(*rest) == [expected]


async def test_a_tag_drops_what_has_it_and_what_is_being_loaded() -> None:
    kept = Kept()
    assert await kept.get("a", "x") == "answer 1"
    assert await kept.get("b", "y") == "answer 2"
    kept.cache.invalidate("x")
    kept.cache.invalidate("nothing has it")
    assert await kept.get("b", "y") == "answer 2"
    kept.hold_back()
    before = asyncio.create_task(kept.get("a", "x"))
    await kept.begun()
    assert kept.source.loads == 3
    kept.cache.invalidate("x")
    after = asyncio.create_task(kept.get("a", "x"))
    await kept.begun()
    assert kept.source.loads == 4
    kept.source.open.set()
    assert (await before, await after) == ("answer 3", "answer 4")
    assert await kept.get("a", "x") == "answer 4", "what was read before the change is not kept"


async def test_what_is_kept_is_bounded() -> None:
    kept = Kept(weight_max=3 * len("answer 1"))
    for key in "abc":
        await kept.get(key, "x")
    assert await kept.get("a") == "answer 1"
    await kept.get("d", "x")
    assert await kept.get("a") == "answer 1", "asked for of late"
    assert await kept.get("b") == "answer 5"
    small = Kept(weight_max=3)
    assert (await small.get(), await small.get()) == ("answer 1", "answer 2")
