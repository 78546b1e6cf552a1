"""Every mutation of a correct run is reported, by the invariant that it breaks."""

from functools import cache
from random import Random

import pytest

from tests.faults.checker import Terms, check
from tests.faults.checker.mutations import MUTATIONS, Mutation, Run
from tests.faults.checker.scripts import drawn, play
from tests.faults.checker.seller import ANSWERED

RUNS = 40
APPLIED_AT_LEAST = 5


@pytest.mark.parametrize(
    ("mutation", "expected"), MUTATIONS, ids=[one.__name__ for one, _ in MUTATIONS]
)
def test_a_mutated_run_is_reported(mutation: Mutation, expected: frozenset[str]) -> None:
    applied = 0
    for seed in range(RUNS):
        honest, terms = correct_run(seed)
        broken = mutation(honest, Random(seed))
        if broken is None:
            continue
        applied += 1
        found = {one.invariant for one in check(broken.history, broken.dumps, terms)}
        assert expected <= found, f"seed {seed}: only {sorted(found)}"
    assert applied >= APPLIED_AT_LEAST


@cache
def correct_run(seed: int) -> tuple[Run, Terms]:
    seller = play(drawn(seed, 60, fates=(ANSWERED,)))
    dumps = seller.dumps()
    return Run(seller.history.operations(), dumps), seller.terms
