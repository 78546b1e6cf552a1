"""Fresh, stale and too old; one load per key; tags; bounds. The test sets the time."""

import asyncio

import pytest

from app.concurrency.background import Background
from app.concurrency.cache import Cache
from app.errors import DatabaseUnavailable


class Source:
    """Counts its loads, which wait while `open` is not set."""

    def __init__(self) -> None:
        self.loads = 0
        self.fails = False
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def load(self) -> str:
        self.loads += 1
        answer = f"answer {self.loads}"
        self.begun.set()
        await self.open.wait()
        if self.fails:
            raise DatabaseUnavailable
        return answer


class Held:
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
        """Returns when a load has begun since the last call."""
        async with asyncio.timeout(5):
            await self.source.begun.wait()
        self.source.begun.clear()

    async def settled(self) -> None:
        await self.background.drain(5)


async def test_an_entry_is_fresh_then_stale_while_it_is_loaded_again_then_too_old() -> None:
    held = Held()
    assert await held.get() == "answer 1"
    held.now = 0.9
    assert await held.get() == "answer 1"
    held.now = 1.0
    held.hold_back()
    assert [await held.get() for _ in range(3)] == ["answer 1"] * 3, "without waiting"
    await held.begun()
    assert held.source.loads == 2
    held.source.open.set()
    await held.settled()
    assert await held.get() == "answer 2"
    held.now = 12.0
    assert await held.get() == "answer 3", "older than stale"
    assert held.source.loads == 3


async def test_an_age_is_counted_from_the_question() -> None:
    held = Held()
    held.hold_back()
    first = asyncio.create_task(held.get())
    await held.begun()
    assert held.source.loads == 1
    held.now = 20.0
    held.source.open.set()
    await first
    assert await held.get() == "answer 2"


async def test_a_stampede_is_one_load() -> None:
    held = Held()
    held.hold_back()
    asking = [asyncio.create_task(held.get()) for _ in range(50)]
    await held.begun()
    assert held.source.loads == 1
    held.source.open.set()
    assert set(await asyncio.gather(*asking)) == {"answer 1"}
    assert held.source.loads == 1


async def test_a_failed_load_fails_all_its_callers_and_is_not_kept() -> None:
    held = Held()
    held.source.fails = True
    held.hold_back()
    asking = [asyncio.create_task(held.get()) for _ in range(5)]
    await held.begun()
    assert held.source.loads == 1
    held.source.open.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(one) for one in found} == {DatabaseUnavailable}
    held.source.fails = False
    assert await held.get() == "answer 2"


async def test_a_refresh_that_fails_leaves_the_stale_answer() -> None:
    held = Held()
    await held.get()
    held.now, held.source.fails = 5.0, True
    assert await held.get() == "answer 1"
    await held.settled()
    assert await held.get() == "answer 1"
    await held.settled()
    held.now = 11.0
    with pytest.raises(DatabaseUnavailable):
        await held.get()


@pytest.mark.parametrize("leaving", [0, 1], ids=["the first caller", "a later caller"])
async def test_a_caller_that_leaves_does_not_end_the_load(leaving: int) -> None:
    held = Held()
    held.hold_back()
    asking = [asyncio.create_task(held.get()) for _ in range(3)]
    await held.begun()
    asking.pop(leaving).cancel()
    await asyncio.sleep(0)
    held.source.open.set()
    assert await asyncio.gather(*asking) == ["answer 1"] * 2
    assert held.source.loads == 1


async def test_a_tag_drops_entries_and_loads_under_way() -> None:
    held = Held()
    assert await held.get("a", "x") == "answer 1"
    assert await held.get("b", "y") == "answer 2"
    held.cache.invalidate("x")
    held.cache.invalidate("a tag of no entry")
    assert await held.get("b", "y") == "answer 2"
    held.hold_back()
    before = asyncio.create_task(held.get("a", "x"))
    await held.begun()
    assert held.source.loads == 3
    held.cache.invalidate("x")
    after = asyncio.create_task(held.get("a", "x"))
    await held.begun()
    assert held.source.loads == 4
    held.source.open.set()
    assert (await before, await after) == ("answer 3", "answer 4")
    assert await held.get("a", "x") == "answer 4", "an answer read before the change is not kept"


async def test_the_weight_is_bounded() -> None:
    held = Held(weight_max=3 * len("answer 1"))
    for key in "abc":
        await held.get(key, "x")
    assert await held.get("a") == "answer 1"
    await held.get("d", "x")
    assert await held.get("a") == "answer 1", "recently used"
    assert await held.get("b") == "answer 5"
    small = Held(weight_max=3)
    assert (await small.get(), await small.get()) == ("answer 1", "answer 2")
