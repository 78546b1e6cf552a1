"""What is made of rounds."""

import pytest

from benchmarks.arithmetic import (
    Measured,
    Ratio,
    Rounds,
    at_least,
    at_most,
    interleaved,
    percentile,
    statuses_of,
)


def measured(rate: float) -> Measured:
    return Measured(operations=int(rate * 2), seconds=2.0, cpu={"app": 1.0, "redis": 0.5})


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    """A moment in which the whole machine was slow weighs no more than any other."""
    rounds = Rounds(
        (measured(50), measured(5), measured(60)), (measured(100), measured(10), measured(100))
    )
    assert rounds.ratio(lambda one: one.rate) == Ratio(0.5, 0.5, 0.6)


def test_a_baseline_of_nothing_is_left_out() -> None:
    rounds = Rounds((measured(50), measured(50)), (measured(0), measured(100)))
    assert rounds.ratio(lambda one: one.rate) == Ratio(0.5, 0.5, 0.5)
    assert Rounds((measured(1),), (measured(0),)).ratio(lambda one: one.rate).median == 0.0


def test_cpu_time_is_of_all_parts_and_for_one_operation() -> None:
    assert measured(75).cpu_ms == pytest.approx(1000 * 1.5 / 150)
    assert measured(0).cpu_ms == 0.0


def test_verdicts_say_how_far_it_is() -> None:
    assert at_least(0.5).verdict(0.5) == "met"
    assert at_least(0.5).verdict(0.4) == "short by 20%"
    assert at_most(2.0).verdict(1.9) == "met"
    assert at_most(2.0).verdict(3.0) == "over by 50%"
    assert at_most(700, "B").text == "≤ 700 B"


def test_percentiles_of_values_in_order() -> None:
    values = [float(n) for n in range(100)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50.0, 99.0)
    assert percentile(values, 1.0) == 99.0
    assert percentile([], 0.5) == 0.0


def test_statuses_are_added_up() -> None:
    rounds = [
        Measured(1, 1.0, statuses={"201": 3}),
        Measured(1, 1.0, statuses={"201": 1, "503": 2}),
    ]
    assert statuses_of(rounds) == {"201": 4, "503": 2}


async def test_arms_take_turns_after_a_warm_up_that_is_not_counted() -> None:
    asked: list[tuple[str, float]] = []

    async def ours(seconds: float) -> Measured:
        asked.append(("ours", seconds))
        return measured(len(asked))

    async def base(seconds: float) -> Measured:
        asked.append(("base", seconds))
        return measured(len(asked))

    rounds = await interleaved(ours, base, rounds=2, seconds=3.0)

    assert asked == [
        ("ours", 1.0),
        ("base", 1.0),
        ("ours", 3.0),
        ("base", 3.0),
        ("ours", 3.0),
        ("base", 3.0),
    ]
    assert [one.rate for one in rounds.ours] == [3.0, 5.0]
    assert [one.rate for one in rounds.base] == [4.0, 6.0]
