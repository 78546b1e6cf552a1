"""Seed and number identify an episode, and every fault is used equally often."""

from collections import Counter

from tests.faults.faults import FAULTS
from tests.faults.plan import Plan, plan_of
from tests.faults.workloads import WORKLOADS


def _plans(seed: int, count: int) -> list[Plan]:
    return [
        plan_of(seed, number, seconds=20, faults=list(FAULTS), workloads=list(WORKLOADS))
        for number in range(count)
    ]


def test_a_seed_and_a_number_are_one_plan() -> None:
    assert _plans(7, 60) == _plans(7, 60)
    assert _plans(7, 60) != _plans(8, 60)


def test_faults_and_workloads_are_used_equally_often() -> None:
    plans = _plans(3, 4 * len(FAULTS))
    assert set(Counter(plan.fault for plan in plans).values()) == {4}
    meetings = Counter(name for plan in plans for name in plan.workloads)
    assert set(meetings) == set(WORKLOADS)
    assert max(meetings.values()) - min(meetings.values()) <= 6


def test_one_workload_is_enough() -> None:
    plan = plan_of(1, 5, seconds=20, faults=["redis-kill"], workloads=["duel"])
    assert (plan.fault, plan.workloads) == ("redis-kill", ["duel"])
