"""Deterministic simulation: runs the shipped hold protocol under random schedules and faults.

Each seed is one run: several processes of the application against a simulated Redis and PostgreSQL,
with lost answers, crashes, pauses, clocks that jump, and a Redis that loses its data. After each step
the invariants are checked: no oversale, no promised hold lost, one answer to one idempotency key, no
seats kept without a hold. The exit status is 0 without a violation. A failing seed replays exactly:

    python -m tests.simulation --seeds 2000
    python -m tests.simulation --seed 17 --trace
"""

import argparse
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from tests.simulation.figures import Run, add_to_file
from tests.simulation.many import verdicts
from tests.simulation.mutants import MUTANTS, planted
from tests.simulation.scheduler import Verdict, run_seed

SHOWN_MAX = 20


def main() -> int:
    chosen = _arguments()
    if chosen.seed is not None:
        return _replay(chosen.seed, chosen.steps, chosen.mutant, with_trace=chosen.trace)
    began = time.monotonic()
    run = Run(chosen.first, chosen.steps)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for verdict in verdicts(seeds, chosen.steps, chosen.processes, chosen.mutant):
            _take(run, verdict)
    except KeyboardInterrupt:
        print(f"interrupted: only the seeds before {run.first + run.seeds} were run")
    if chosen.mutant is None:
        total = add_to_file(Path(chosen.figures), run)
        print(f"total in {chosen.figures}: {total}")
    print(f"faults: {_counts(run.faults)}")
    print(f"done: {_counts(run.done)}, in {time.monotonic() - began:.0f} s")
    print(run.summary())
    return 1 if run.failing or run.seeds < chosen.seeds else 0


def _take(run: Run, verdict: Verdict) -> None:
    run.take(verdict)
    if verdict.violation is not None and len(run.failing) <= SHOWN_MAX:
        print(f"seed {verdict.seed}: {verdict.violation}", flush=True)
        print(f"  python -m tests.simulation --seed {verdict.seed} --trace", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=2000, help="number of seeds (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default 0)")
    parser.add_argument(
        "--steps", type=int, default=200, help="steps with faults for each seed (default 200)"
    )
    parser.add_argument("--processes", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument(
        "--figures", default=".figures/simulation.json", help="file that adds up all runs"
    )
    parser.add_argument("--seed", type=int, help="run one seed only, to reproduce it")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every step")
    parser.add_argument(
        "--mutant",
        choices=sorted(MUTANTS),
        metavar="NAME",
        help="plant a known mistake, which must be found: " + "; ".join(sorted(MUTANTS)),
    )
    return parser.parse_args()


def _replay(seed: int, steps: int, mutant: str | None, *, with_trace: bool) -> int:
    if mutant is None:
        verdict = run_seed(seed, steps, with_trace=with_trace)
    else:
        with planted(mutant):
            verdict = run_seed(seed, steps, with_trace=with_trace)
    for line in verdict.trace or ():
        print(line)
    print(f"seed {seed}: {verdict.steps} steps, trace {verdict.hash:08x}")
    print(verdict.violation or "0 violations")
    return 0 if verdict.violation is None else 1


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))


if __name__ == "__main__":
    sys.exit(main())
