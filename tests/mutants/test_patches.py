"""Every mutant can still be planted, and says what it breaks; hunting them is `make mutants`."""

from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.workloads import WORKLOADS
from tests.mutants.catalogue import MUTANTS, ORDINARY, PATCHES, SAYS, Mutant
from tests.mutants.planting import ROOT, DoesNotApply, check, plant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_to_the_code_as_it_is(mutant: Mutant) -> None:
    check(mutant.patch)
    assert SAYS.fullmatch(mutant.says)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_that_are_to_catch_it_exist(mutant: Mutant) -> None:
    for test in (*mutant.tests, *ORDINARY):
        file, *_, function = test.split("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_harm_has_a_fault_and_a_workload_or_a_reason_why_not(mutant: Mutant) -> None:
    if mutant.spared:
        assert not mutant.fault
        assert not mutant.workload
    else:
        assert mutant.fault in FAULTS
        assert mutant.workload in WORKLOADS


def test_every_patch_is_a_mutant_once() -> None:
    assert sorted(mutant.name for mutant in MUTANTS) == sorted(
        patch.stem for patch in PATCHES.glob("*.patch")
    )


def test_a_patch_that_no_longer_fits_is_said_loudly(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply):
        plant(MUTANTS[0].patch, tmp_path)
