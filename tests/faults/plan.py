"""Chooses fault and workloads of an episode: a pure function of the seed and the episode's number.

Every fault and every workload is used once before one is repeated, so that a run of any length is spread
evenly, and seed and number alone identify an episode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

WORKLOADS_MAX = 2  # workloads in one episode
REPEATED_SHARE = 0.7  # of the episodes; the others inject their fault once


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    number: int
    seconds: float
    fault: str
    workloads: Sequence[str]
    repeats_fault: bool

    @property
    def label(self) -> str:
        return f"{self.seed}e{self.number}"

    def __str__(self) -> str:
        return f"{self.fault} under {' and '.join(self.workloads)}"


def plan_of(
    seed: int, number: int, *, seconds: float, faults: Sequence[str], workloads: Sequence[str]
) -> Plan:
    chance = Random(f"{seed}/{number}/plan")
    count = min(WORKLOADS_MAX, len(workloads))
    return Plan(
        seed=seed,
        number=number,
        seconds=seconds,
        fault=_round_robin(seed, number, faults),
        workloads=sorted(
            {_round_robin(seed, number * count + place, workloads) for place in range(count)}
        ),
        repeats_fault=chance.random() < REPEATED_SHARE,
    )


def _round_robin(seed: int, number: int, names: Sequence[str]) -> str:
    round_, place = divmod(number, len(names))
    order = list(names)
    Random(f"{seed}/{round_}/{order}").shuffle(order)
    return order[place]
