"""A run: one episode after the other on one stack; each is checked and counted.

The stack is replaced after some episodes, because its data grows, and after an episode that failed.
"""

import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.faults import dumps, figures
from tests.faults.checker import Layout, Terms, Violation, check
from tests.faults.episode import Outcome, play
from tests.faults.plan import plan_of
from tests.faults.stack import Stack, running

RENEWED_AFTER = 12  # episodes
REPAIR_SECONDS = 10.0
_SHOWN_ANSWERS = 8
_SHOWN_VIOLATIONS = 3  # of an invariant; all are kept


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: a number of episodes, or without it as many as the minutes allow."""

    seed: int
    seconds: float  # of an episode, its end included
    faults: Sequence[str]
    workloads: Sequence[str]
    minutes: float
    episodes: int | None = None
    first: int = 0
    until_violation: bool = False
    command: str = ""
    figures: Path = figures.FOLDER


@dataclass(slots=True)
class Report:
    episodes: int = 0
    operations: int = 0
    violations: int = 0
    broken: int = 0  # episodes that the harness itself did not finish


async def run(order: Order) -> Report:
    report = Report()
    counted = figures.Run.begin(order.seed, order.command, order.figures)
    ends_at = time.monotonic() + order.minutes * 60
    async with AsyncExitStack() as kept:
        stack: Stack | None = None
        for number in range(order.first, order.first + (order.episodes or 1_000_000)):
            if order.episodes is None and time.monotonic() + order.seconds > ends_at:
                break
            try:
                if stack is None or report.episodes % RENEWED_AFTER == 0:
                    await kept.aclose()
                    stack = await _new_stack(kept)
                await _episode(order, number, stack, counted, report)
                if order.until_violation and report.violations:
                    break
            except Exception:  # one episode must not end a night's run
                report.broken += 1
                print(f"episode {number} of seed {order.seed} was not finished:", flush=True)
                traceback.print_exc()
                stack = None
    return report


async def _new_stack(kept: AsyncExitStack) -> Stack:
    # Short, because a Unix socket's path may have no more than 107 bytes.
    folder = kept.enter_context(
        tempfile.TemporaryDirectory(prefix="hf-", ignore_cleanup_errors=True)
    )
    return await kept.enter_async_context(running(Path(folder)))


async def _episode(
    order: Order, number: int, stack: Stack, counted: figures.Run, report: Report
) -> None:
    started = time.monotonic()
    plan = plan_of(
        order.seed,
        number,
        seconds=order.seconds,
        faults=order.faults,
        workloads=order.workloads,
    )
    outcome = await play(stack, plan)
    taken = await dumps.take(stack.database_url, stack.redis_url, stack.bus)
    violations = [
        *_own_violations(stack, outcome),
        *check(outcome.history, taken, _terms(outcome, stack)),
    ]
    seconds = time.monotonic() - started
    sums = figures.add(counted, outcome, violations, seconds)
    report.episodes += 1
    report.operations += len(outcome.history)
    report.violations += len(violations)
    _print_report(outcome, violations, seconds, sums)
    for line in stack.errors_logged():
        print(f"    logged: {line}", flush=True)
    if violations:
        print(f"    kept in {figures.keep(counted, outcome, taken, violations)}", flush=True)


def _terms(outcome: Outcome, stack: Stack) -> Terms:
    flights: Layout = {
        flight_id: {"economy": [(letter, limit) for letter, limit, _ in classes]}
        for flight_id, classes in outcome.flights.items()
    }
    return Terms(
        flights=flights,
        only_these_flights=True,
        hold_ttl_seconds=stack.ttl_seconds,
        faults=outcome.faults,
        repair_seconds=REPAIR_SECONDS,
        settled_at=outcome.settled_at,
    )


def _own_violations(stack: Stack, outcome: Outcome) -> list[Violation]:
    """Violations that only the runner of the processes can see."""
    ended = [one.called for one in (*stack.apis, *stack.relays) if not one.running]
    return [
        *(Violation("I12", f"{name} ended by itself") for name in ended),
        *(Violation("I6", f"never at rest: {waiting}") for waiting in outcome.not_at_rest),
    ]


def _print_report(
    outcome: Outcome, violations: Sequence[Violation], seconds: float, sums: figures.Numbers
) -> None:
    answers = Counter(
        f"{one.kind} {one.status or 'lost'}" for one in outcome.history.operations()
    ).most_common(_SHOWN_ANSWERS)
    print(
        f"{outcome.plan.label} {outcome.plan}: {len(outcome.history)} operations, "
        f"{len(outcome.faults)} injections, served again within "
        f"{max(outcome.recovery_seconds(), default=0.0):.1f} s, {len(violations)} violations, "
        f"{seconds:.0f} s "
        f"(all runs: {sums['operations']} operations, {sums['episodes']} episodes, "
        f"{sums['violations']} violations)\n    "
        + ", ".join(f"{answer} × {count}" for answer, count in answers),
        flush=True,
    )
    shown: Counter[str] = Counter()
    for violation in violations:
        shown[violation.invariant] += 1
        if shown[violation.invariant] <= _SHOWN_VIOLATIONS:
            print(f"  {violation}", flush=True)
