"""Concurrent items share a batch; no caller waits for, fails with or receives the answer of another."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from app.concurrency.coalescer import Coalescer, SplitBatch
from app.errors import Overloaded


class Bench:
    """Work that waits until the test sets `go`, and records its batches."""

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
    while len(bench.batches) < count:  # noqa: ASYNC110 - ticks of the loop are what is counted
        await asyncio.sleep(0)


async def test_an_idle_coalescer_starts_at_once(bench: Bench) -> None:
    assert await bench.coalescer().submit("a") == "A"
    assert bench.batches == [["a"]]


async def test_items_that_come_while_a_batch_is_under_way_share_the_next_batch(
    bench: Bench,
) -> None:
    coalescer = bench.coalescer()
    bench.go.clear()
    first = asyncio.create_task(coalescer.submit("a"))
    await under_way(bench, 1)
    rest = [asyncio.create_task(coalescer.submit(item)) for item in "bcd"]
    await asyncio.sleep(0)
    bench.go.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "D"]
    assert bench.batches == [["a"], ["b", "c", "d"]]


async def test_batches_are_bounded_in_size_and_number(bench: Bench) -> None:
    coalescer = bench.coalescer(batch_max=2, batches_max=2)
    bench.go.clear()
    asked = [asyncio.create_task(coalescer.submit(item)) for item in "abcdefg"]
    await under_way(bench, 2)
    await asyncio.sleep(0)
    assert bench.batches == [["a", "b"], ["c", "d"]]
    bench.go.set()
    assert await asyncio.gather(*asked) == list("ABCDEFG")
    assert all(len(batch) <= 2 for batch in bench.batches)


async def test_a_bad_item_fails_alone(bench: Bench) -> None:
    coalescer = bench.coalescer()
    answers = await asyncio.gather(
        *map(coalescer.submit, ("a", "bad", "c")), return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["A", "bad", "C"]
    assert isinstance(answers[1], ValueError)
    assert bench.batches == [["a", "bad", "c"]]


async def test_a_batch_that_fails_as_a_whole_is_split_until_the_bad_item_is_by_itself(
    bench: Bench,
) -> None:
    bench.failures = {"g": KeyError("g")}
    coalescer = bench.coalescer()
    answers = await asyncio.gather(*map(coalescer.submit, "abcdefgh"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["A", "B", "C", "D", "E", "F", "'g'", "H"]
    pieces = [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"], ["g"], ["h"]]
    assert bench.batches == [list("abcdefgh"), *pieces]


async def test_a_split_batch_delays_only_items_of_its_keys() -> None:
    slow = asyncio.Event()
    seen: list[list[str]] = []

    async def work(items: Sequence[str]) -> list[str | Exception]:
        seen.append(list(items))
        if len(items) > 1 and "s1" in items:
            raise SplitBatch
        if items[0] == "s1":
            await slow.wait()
        return [item.upper() for item in items]

    coalescer: Coalescer[str, str] = Coalescer(work, lambda item: item[0])
    asked = [asyncio.create_task(coalescer.submit(item)) for item in ("s1", "a", "s2")]
    assert await asked[1] == "A"
    assert await coalescer.submit("b") == "B"
    assert seen == [["s1", "a"], ["s1"], ["a"], ["b"]]
    slow.set()
    assert [await asked[0], await asked[2]] == ["S1", "S2"]


async def test_a_failure_that_splitting_cannot_cure_answers_every_item(bench: Bench) -> None:
    bench.failures = {"b": OSError("unreachable")}
    answers = await asyncio.gather(*map(bench.coalescer().submit, "ab"), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["unreachable", "unreachable"]
    assert bench.batches == [["a", "b"]]


async def test_work_under_way_goes_on_without_its_caller(bench: Bench) -> None:
    coalescer = bench.coalescer()
    bench.go.clear()
    leaving, staying = (asyncio.create_task(coalescer.submit(item)) for item in "ab")
    await under_way(bench, 1)
    queued = asyncio.create_task(coalescer.submit("c"))
    dropped = asyncio.create_task(coalescer.submit("d"))
    await asyncio.sleep(0)
    leaving.cancel()
    dropped.cancel()
    bench.go.set()
    assert await staying == "B"
    assert await queued == "C"
    assert bench.batches == [["a", "b"], ["c"]], (
        "a batch under way is completed; a queued item is dropped"
    )


async def test_items_of_one_key_are_served_in_order(bench: Bench) -> None:
    coalescer = bench.coalescer(batches_max=4)
    asked = [asyncio.create_task(coalescer.submit(item)) for item in ("a1", "b1", "a2", "a3", "b2")]
    asked[2].cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert bench.batches == [["a1", "b1"], ["a3", "b2"]]
    assert await coalescer.submit("a4") == "A4", "the key was released"


async def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    coalescer = bench.coalescer(batch_max=1, queue_max=2)
    bench.go.clear()
    first = asyncio.create_task(coalescer.submit("a"))
    await under_way(bench, 1)
    waiting = [asyncio.create_task(coalescer.submit(item)) for item in ("b", "a2")]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await coalescer.submit("c")
    bench.go.set()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "A2"]
    assert await coalescer.submit("c") == "C"


async def test_the_work_runs_in_a_context_of_its_own() -> None:
    caller: ContextVar[str] = ContextVar("caller")
    seen: list[str] = []

    async def work(items: Sequence[str]) -> list[str | Exception]:
        seen.append(caller.get("none"))
        return list(items)

    coalescer: Coalescer[str, str] = Coalescer(work, lambda item: item)
    token = caller.set("first")
    await coalescer.submit("a")
    caller.reset(token)
    assert seen == ["none"]


async def test_a_slow_item_delays_only_items_of_its_key() -> None:
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

    coalescer: Coalescer[str, str] = Coalescer(work, lambda item: item[0])
    asked = [asyncio.create_task(coalescer.submit(item)) for item in ("s1", "a", "s2", "b")]
    assert [await asked[1], await asked[3]] == ["A", "B"]
    assert await coalescer.submit("c") == "C"
    assert not asked[0].done()
    assert seen == [["s1", "a", "b"], ["c"]]
    slow.set()
    assert [await asked[0], await asked[2]] == ["S1", "S2"]


async def test_a_key_may_belong_to_one_item_alone(bench: Bench) -> None:
    coalescer: Coalescer[str, str] = Coalescer(bench.work, lambda _: object())
    for _ in range(2):
        assert await asyncio.gather(*map(coalescer.submit, ("a", "a"))) == ["A", "A"]
    assert bench.batches == [["a", "a"], ["a", "a"]]


async def test_a_caller_that_was_answered_may_submit_again_at_once() -> None:
    async def work(items: Sequence[str]) -> list[str | Exception]:
        return list(items)

    coalescer: Coalescer[str, str] = Coalescer(work, lambda item: item)

    async def submit_twice() -> list[str]:
        return [await coalescer.submit("a"), await coalescer.submit("b")]

    async with asyncio.timeout(5):
        assert await asyncio.create_task(submit_twice()) == ["a", "b"]


async def test_batches_that_end_in_the_same_tick_leave_no_item_waiting(bench: Bench) -> None:
    coalescer = bench.coalescer(batch_max=1, batches_max=2)
    bench.go.clear()

    async def submit_twice(items: str) -> list[str]:
        return [await coalescer.submit(item) for item in items]

    asked = [asyncio.create_task(submit_twice(items)) for items in ("ab", "c")]
    await under_way(bench, 2)
    bench.go.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*asked) == [["A", "B"], ["C"]]
