"""What is asked at once is done together; nobody waits for, fails by or hears the answer of another."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from app.concurrency.coalescer import Coalescer, SplitBatch
from app.errors import Overloaded


class Bench:
    """Work that is held back until the test lets it go on, and remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.failures: dict[str, Exception] = {}

    async def work(self, items: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(items))
        await self.go.wait()
        for item in items:
            if item in self.failures:
                raise self.failures[item]
        return [ValueError(item) if item.startswith("bad") else item.upper() for item in items]

    def coalescer(self, *, batches_max: int = 1, **options: int) -> Coalescer[str, str]:
        options["batches_max"] = batches_max
        return Coalescer(self.work, lambda item: item[0], splits=(LookupError,), **options)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def under_way(bench: Bench, count: int) -> None:
    while len(bench.batches) < count:  # noqa: ASYNC110 - turns of the loop are what is counted
        await asyncio.sleep(0)


async def test_one_alone_starts_at_once(bench: Bench) -> None:
    assert await bench.coalescer().do("a") == "A"
    assert bench.batches == [["a"]]


async def test_what_comes_while_a_batch_is_under_way_goes_together_into_the_next(
    bench: Bench,
) -> None:
    shared = bench.coalescer()
    bench.go.clear()
    first = asyncio.create_task(shared.do("a"))
    await under_way(bench, 1)
    rest = [asyncio.create_task(shared.do(item)) for item in "bcd"]
    await asyncio.sleep(0)
    bench.go.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "D"]
    assert bench.batches == [["a"], ["b", "c", "d"]]


async def test_batches_are_bounded_and_so_many_run_at_once(bench: Bench) -> None:
    shared = bench.coalescer(batch_max=2, batches_max=2)
    bench.go.clear()
    asked = [asyncio.create_task(shared.do(item)) for item in "abcdefg"]
    await under_way(bench, 2)
    await asyncio.sleep(0)
    assert bench.batches == [["a", "b"], ["c", "d"]]
    bench.go.set()
    assert await asyncio.gather(*asked) == list("ABCDEFG")
    assert all(len(batch) <= 2 for batch in bench.batches)


async def test_a_bad_item_fails_alone(bench: Bench) -> None:
    shared = bench.coalescer()
    answers = await asyncio.gather(*map(shared.do, ("a", "bad", "c")), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["A", "bad", "C"]
    assert isinstance(answers[1], ValueError)
    assert bench.batches == [["a", "bad", "c"]]


async def test_a_batch_that_fails_as_a_whole_is_split_until_the_bad_item_stands_alone(
    bench: Bench,
) -> None:
    bench.failures = {"g": KeyError("g")}
    shared = bench.coalescer()
    answers = await asyncio.gather(*map(shared.do, "abcdefgh"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["A", "B", "C", "D", "E", "F", "'g'", "H"]
    pieces = [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"], ["g"], ["h"]]
    assert bench.batches == [list("abcdefgh"), *pieces]


async def test_what_is_split_keeps_its_keys_and_nobody_else_waiting() -> None:
    slow = asyncio.Event()
    seen: list[list[str]] = []

    async def work(items: Sequence[str]) -> list[str | Exception]:
        seen.append(list(items))
        if len(items) > 1 and "s1" in items:
            raise SplitBatch
        if items[0] == "s1":
            await slow.wait()
        return [item.upper() for item in items]

    shared: Coalescer[str, str] = Coalescer(work, lambda item: item[0])
    asked = [asyncio.create_task(shared.do(item)) for item in ("s1", "a", "s2")]
    assert await asked[1] == "A"
    assert await shared.do("b") == "B"
    assert seen == [["s1", "a"], ["s1"], ["a"], ["b"]]
    slow.set()
    assert [await asked[0], await asked[2]] == ["S1", "S2"]


async def test_a_failure_that_no_splitting_cures_is_everyones(bench: Bench) -> None:
    bench.failures = {"b": OSError("away")}
    answers = await asyncio.gather(*map(bench.coalescer().do, "ab"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["away", "away"]
    assert bench.batches == [["a", "b"]]


async def test_work_goes_on_without_a_caller_who_gave_up(bench: Bench) -> None:
    shared = bench.coalescer()
    bench.go.clear()
    gone, stays = (asyncio.create_task(shared.do(item)) for item in "ab")
    await under_way(bench, 1)
    queued = asyncio.create_task(shared.do("c"))
    dropped = asyncio.create_task(shared.do("d"))
    await asyncio.sleep(0)
    gone.cancel()
    dropped.cancel()
    bench.go.set()
    assert await stays == "B"
    assert await queued == "C"
    assert bench.batches == [["a", "b"], ["c"]], "what was under way goes on; what waited does not"


async def test_items_of_one_key_wait_for_each_other_in_order(bench: Bench) -> None:
    shared = bench.coalescer(batches_max=4)
    asked = [asyncio.create_task(shared.do(item)) for item in ("a1", "b1", "a2", "a3", "b2")]
    asked[2].cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert bench.batches == [["a1", "b1"], ["a3", "b2"]]
    assert await shared.do("a4") == "A4", "nothing of a key is left behind"


async def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    shared = bench.coalescer(batch_max=1, queue_max=2)
    bench.go.clear()
    first = asyncio.create_task(shared.do("a"))
    await under_way(bench, 1)
    waiting = [asyncio.create_task(shared.do(item)) for item in ("b", "a2")]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await shared.do("c")
    bench.go.set()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "A2"]
    assert await shared.do("c") == "C"


async def test_the_work_is_done_in_nobodys_name() -> None:
    caller: ContextVar[str] = ContextVar("caller")
    seen: list[str] = []

    async def work(items: Sequence[str]) -> list[str | Exception]:
        seen.append(caller.get("nobody"))
        return list(items)

    shared: Coalescer[str, str] = Coalescer(work, lambda item: item)
    token = caller.set("first")
    await shared.do("a")
    caller.reset(token)
    assert seen == ["nobody"]


async def test_one_that_takes_longer_keeps_its_key_and_nobody_else_waiting() -> None:
    slow = asyncio.Event()
    seen: list[list[str]] = []

    async def late(item: str) -> str:
        await slow.wait()
        return item.upper()

    async def work(items: Sequence[str]) -> "Sequence[str | asyncio.Task[str]]":
        seen.append(list(items))
        return [
            asyncio.create_task(late(item)) if item.startswith("s") else item.upper()
            for item in items
        ]

    shared: Coalescer[str, str] = Coalescer(work, lambda item: item[0])
    asked = [asyncio.create_task(shared.do(item)) for item in ("s1", "a", "s2", "b")]
    assert [await asked[1], await asked[3]] == ["A", "B"]
    assert await shared.do("c") == "C"
    assert not asked[0].done()
    assert seen == [["s1", "a", "b"], ["c"]]
    slow.set()
    assert [await asked[0], await asked[2]] == ["S1", "S2"]


async def test_a_key_may_be_of_one_item_alone(bench: Bench) -> None:
    shared: Coalescer[str, str] = Coalescer(bench.work, lambda _: object())
    for _ in range(2):
        assert await asyncio.gather(*map(shared.do, ("a", "a"))) == ["A", "A"]
    assert bench.batches == [["a", "a"], ["a", "a"]]


async def test_whoever_was_answered_may_ask_again_at_once() -> None:
    async def work(items: Sequence[str]) -> list[str | Exception]:
        return list(items)

    shared: Coalescer[str, str] = Coalescer(work, lambda item: item)

    async def ask_twice() -> list[str]:
        return [await shared.do("a"), await shared.do("b")]

    async with asyncio.timeout(5):
        assert await asyncio.create_task(ask_twice()) == ["a", "b"]


async def test_batches_that_end_together_leave_nobody_waiting(bench: Bench) -> None:
    shared = bench.coalescer(batch_max=1, batches_max=2)
    bench.go.clear()

    async def ask_twice(items: str) -> list[str]:
        return [await shared.do(item) for item in items]

    asked = [asyncio.create_task(ask_twice(items)) for items in ("ab", "c")]
    await under_way(bench, 2)
    bench.go.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*asked) == [["A", "B"], ["C"]]
