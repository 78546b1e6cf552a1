"""The checker: judges a run by its history and the final data of the stores, by the invariants I1 to I12.

It reports no false violation: what it reports is impossible in a correct system, whatever the faults, the
repeated requests and the lost answers. It does not guess what cannot be known from outside; each module
says what that is.
"""

from tests.faults.checker.answers import check_answers
from tests.faults.checker.bookings import check_bookings
from tests.faults.checker.epochs import check_epochs
from tests.faults.checker.evidence import gather
from tests.faults.checker.facts import check_facts
from tests.faults.checker.holds import check_holds
from tests.faults.checker.model import Findings, Layout, Terms, Violation
from tests.faults.checker.ownership import check_owners
from tests.faults.checker.release import check_refusals
from tests.faults.checker.repeats import check_repeats
from tests.faults.checker.seats import check_numbers, check_sold
from tests.faults.dumps import Dumps
from tests.faults.history import History

__all__ = ["Layout", "Terms", "Violation", "check"]


def check(history: History, dumps: Dumps, terms: Terms) -> list[Violation]:
    """All violations, by invariant; an empty list is a clean run."""
    evidence = gather(history, dumps, terms)
    findings = Findings()
    for judge in (
        check_sold,
        check_owners,
        check_holds,
        check_repeats,
        check_bookings,
        check_refusals,
        check_facts,
        check_answers,
        check_epochs,
        check_numbers,
    ):
        judge(evidence, findings)
    return findings.violations()
