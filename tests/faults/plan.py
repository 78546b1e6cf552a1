"""Which fault meets which workloads: a pure function of the seed and the episode's number.

Every fault and every workload has its turn before one comes again, so that a run of any length is
spread evenly, and an episode is named by its seed and number alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

TOGETHER = 2  # workloads in one episode
RELENTLESS = 0.7  # how many episodes break things again and again; the others once, and then watch


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    number: int
    seconds: float
    fault: str
    workloads: Sequence[str]
    relentless: bool

    @property
    def label(self) -> str:
        return f"{self.seed}e{self.number}"

    def __str__(self) -> str:
        return f"{self.fault} under {' and '.join(self.workloads)}"


def plan_of(
    seed: int, number: int, *, seconds: float, faults: Sequence[str], workloads: Sequence[str]
) -> Plan:
    chance = Random(f"{seed}/{number}/plan")
    together = min(TOGETHER, len(workloads))
    return Plan(
        seed=seed,
        number=number,
        seconds=seconds,
        fault=_fewest_failures_first(seed, number, faults),
        workloads=sorted(
            {
                _fewest_failures_first(seed, number * together + place, workloads)
                for place in range(together)
            }
        ),
        relentless=chance.random() < RELENTLESS,
    )


def _fewest_failures_first(seed: int, number: int, names: Sequence[str]) -> str:
    round_, place = divmod(number, len(names))
    order = list(names)
    Random(f"{seed}/{round_}/{order}").shuffle(order)
    return order[place]
