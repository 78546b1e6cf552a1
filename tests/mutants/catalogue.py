"""The mutants, and what has been shown to catch each.

First a test of the very rule that the mutant breaks; then the simulator, for the parts of the protocol that
it runs; then the fault and workload under which clients of real servers see the harm. A mutant without a
fault gives the reason: another layer makes good for the mistake, or the harm needs a coincidence that a run
of minutes rarely meets.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATCHES: Final = Path(__file__).parent / "patches"
AS_PLANTED: Final = "as planted"
"""The simulator runs the patched scripts and functions. It has no handler for a changed statement: for those
it plants the same mistake in the statement's handler.
"""
FIRST_LINE: Final = re.compile(r"Breaks (I\d+): .+\.")


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str  # also of its patch
    file: str
    test: str  # fails on the mutant; of a parametrized test, some cases fail
    simulated: str = ""  # AS_PLANTED, or its name in the simulator; empty if that has no such part
    fault: str = ""  # of tests.faults
    workload: str = ""
    no_fault_because: str = ""

    @property
    def tests(self) -> tuple[str, ...]:
        return (f"tests/{self.file}::{self.test}",)

    @property
    def patch(self) -> Path:
        return PATCHES / f"{self.name}.patch"

    @property
    def description(self) -> str:
        return self.patch.read_text(encoding="utf-8").partition("\n")[0]


ORDINARY: Final = (
    "tests/hold/test_service.py::test_a_hold_keeps_every_segment_until_a_ttl_from_its_grant",
    "tests/booking/test_service.py::test_a_booking_sells_every_segment_at_the_held_price",
    "tests/hold/epochs/test_guardian.py::test_an_empty_redis_is_loaded_and_every_promise_stands",
)
"""What still works with every mutant: one that fails here breaks too much to prove anything."""

MUTANTS: Final = (
    Mutant(
        "constraint-removed",
        "booking/test_oversell.py",
        "test_one_line_that_does_not_fit_is_named_and_nothing_is_kept",
        no_fault_because="the constraint is alone only if old data returns under the same incarnation of Redis",
    ),
    Mutant(
        "retry-with-a-new-id",
        "hold/test_lost_answers.py",
        "test_what_was_never_answered_is_settled_by_the_same_key",
        simulated=AS_PLANTED,
        fault="redis-replies-dropped",
        workload="storm",
    ),
    Mutant(
        "answer-before-the-journal",
        "hold/test_service.py",
        "test_a_promise_that_comes_after_its_seats_were_given_up_is_not_made",
        simulated=AS_PLANTED,
        fault="postgres-kill",
        workload="duel",
    ),
    Mutant(
        "no-epoch-check-in-a-script",
        "hold/redis/test_lua.py",
        "test_no_script_speaks_for_another_epoch",
        simulated=AS_PLANTED,
        no_fault_because="a grant for an epoch that is over is not journaled: the INSERT proves its epoch",
    ),
    Mutant(
        "epoch-read-at-insert-time",
        "hold/epochs/test_guardian.py",
        "test_an_old_primary_that_goes_on_serving_grants_nothing",
        simulated="epoch read at INSERT time",
        fault="redis-old-primary",
        workload="duel",
    ),
    Mutant(
        "release-without-tombstone",
        "hold/redis/test_lua.py",
        "test_a_release_before_its_hold_leaves_a_tombstone",
        simulated=AS_PLANTED,
        no_fault_because="the grant of a late duplicate finds a journal row that has ended, and is undone",
    ),
    Mutant(
        "unpin-after-an-unknown-commit",
        "booking/test_failures.py",
        "test_an_answer_lost_on_commit_is_found_out_again",
        simulated=AS_PLANTED,
        fault="postgres-replies-dropped",
        workload="confirm-expiry",
    ),
    Mutant(
        "unpin-without-a-raised-token",
        "hold/histories/test_fences.py",
        "test_who_lets_go_of_a_failed_booking_has_stopped_its_retry_first",
        simulated=AS_PLANTED,
        fault="api-freeze",
        workload="confirm-expiry",
    ),
    Mutant(
        "no-fencing-token-in-the-where",
        "hold/histories/test_fences.py",
        "test_who_lets_go_of_a_failed_booking_has_stopped_its_retry_first",
        simulated="no fencing token in the WHERE",
        fault="api-freeze",
        workload="confirm-expiry",
    ),
    Mutant(
        "no-state-in-the-where",
        "booking/test_confirmation.py",
        "test_released_between_pin_and_transaction_it_is_not_sold",
        simulated="no state in the WHERE",
        fault="none",
        workload="release-confirm",
    ),
    Mutant(
        "rebuild-without-cut",
        "hold/histories/test_loss.py",
        "test_a_hold_that_had_run_out_is_not_revived_beside_its_heir",
        simulated="rebuild without cut",
        fault="redis-flush",
        workload="rehold",
    ),
    Mutant(
        "cut-over-held-rows-only",
        "hold/histories/test_loss.py",
        "test_a_hold_that_had_run_out_is_not_revived_beside_its_heir",
        simulated="cut over HELD rows only",
        no_fault_because="any hold on any flight that is still held moves the cut as far",
    ),
    Mutant(
        "expiry-by-key-ttl",
        "booking/test_failures.py",
        "test_a_hold_whose_time_passes_while_its_booking_waits_is_booked_and_nobody_elses",
        simulated=AS_PLANTED,
        fault="none",
        workload="confirm-expiry",
    ),
    Mutant(
        "expired-by-postgres-clock",
        "hold/histories/test_time.py",
        "test_a_clock_of_postgres_ends_no_hold_and_keeps_none_alive",
        simulated="cut by PostgreSQL's clock",
        no_fault_because="PostgreSQL and Redis share the machine's clock, which cannot be moved",
    ),
    Mutant(
        "rebuild-without-the-second-reading",
        "hold/histories/test_loss.py",
        "test_a_booking_made_while_redis_is_loaded_is_known_when_it_opens",
        simulated=AS_PLANTED,
        no_fault_because="a process must die between a booking and Redis, within the milliseconds of a load",
    ),
    Mutant(
        "cancel-applied-without-version",
        "hold/histories/test_loss.py",
        "test_a_cancellation_that_redis_hears_of_twice_frees_its_seat_once",
        simulated=AS_PLANTED,
        no_fault_because="a row must arrive again after the next sale, and the sync repairs it within a second",
    ),
    Mutant(
        "batch-decided-by-row-count",
        "hold/histories/test_answers.py",
        "test_each_promise_of_a_batch_is_decided_by_its_own_row",
        simulated=AS_PLANTED,
        fault="redis-flush",
        workload="storm",
    ),
    Mutant(
        "outbox-read-by-id-over-cursor",
        "outbox/test_store.py",
        "TestNumbering::test_nothing_appears_before_a_cursor_already_handed_out",
        no_fault_because="a reader must come between two commits in the wrong order",
    ),
    Mutant(
        "publish-after-mark",
        "outbox/test_relay_faults.py",
        "test_killed_between_publishing_and_marking_it_repeats_and_loses_nothing",
        no_fault_because="a relay must die between the mark and the bus, which accepts at once",
    ),
    Mutant(
        "no-hold-back",
        "outbox/test_store.py",
        "TestMarking::test_one_event_of_an_aggregate_is_offered_at_a_time",
        no_fault_because="the harness's bus refuses nothing, so that no event waits behind another",
    ),
    Mutant(
        "unsorted-locks",
        "hold/histories/test_order.py",
        "test_seats_sold_in_opposite_orders_are_locked_in_one",
        no_fault_because="PostgreSQL ends one transaction of a deadlock, and it is run again",
    ),
    Mutant(
        "aud-unchecked",
        "identity/test_verifier.py",
        "test_forged_token_is_refused",
        no_fault_because="the harness's clients forge no tokens",
    ),
    Mutant(
        "unscoped-query",
        "hold/test_service.py",
        "test_another_tenant_sees_nothing",
        fault="none",
        workload="duel",
    ),
    Mutant(
        "synchronous-commit-off",
        "storage/test_durability.py",
        "test_what_was_committed_outlives_a_server_that_is_killed",
        fault="postgres-kill",
        workload="duel",
    ),
)
