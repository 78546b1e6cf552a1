"""Every mutant can be planted, and its patch says what it breaks; `make mutants` runs the catchers."""

from pathlib import Path

import pytest

from tests.faults.faults import FAULTS
from tests.faults.workloads import WORKLOADS
from tests.mutants.catalogue import FIRST_LINE, MUTANTS, ORDINARY, PATCHES, Mutant
from tests.mutants.planting import ROOT, DoesNotApply, check, plant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_patch_applies_to_the_present_code(mutant: Mutant) -> None:
    check(mutant.patch)
    assert FIRST_LINE.fullmatch(mutant.description)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_named_for_a_mutant_exist(mutant: Mutant) -> None:
    for test in (*mutant.tests, *ORDINARY):
        file, *_, function = test.split("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_names_a_fault_and_workload_or_a_reason(mutant: Mutant) -> None:
    if mutant.no_fault_because:
        assert not mutant.fault
        assert not mutant.workload
    else:
        assert mutant.fault in FAULTS
        assert mutant.workload in WORKLOADS


def test_patches_and_mutants_correspond() -> None:
    assert sorted(mutant.name for mutant in MUTANTS) == sorted(
        patch.stem for patch in PATCHES.glob("*.patch")
    )


def test_a_patch_that_does_not_fit_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply):
        plant(MUTANTS[0].patch, tmp_path)
