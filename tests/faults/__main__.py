"""`make faults`: injects faults into real servers under load, checks the invariants, adds up the figures."""

import argparse
import secrets
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.faults.faults import FAULTS
from tests.faults.figures import FOLDER
from tests.faults.runner import Order, run
from tests.faults.workloads import WORKLOADS

DESCRIPTION = """\
Fault injection: proves on real servers that no fault breaks what clients were promised.

Starts a durable PostgreSQL, Valkey, two API processes and two relays; each API process reaches each
store through a TCP link that can be made to fail. A run is a series of episodes. In an episode
workloads run while a fault is injected and healed, several times; then everything comes to rest. The
checker compares the history of all requests and answers with the final data of PostgreSQL, Redis and
the bus, by the invariants I1 to I12 of docs/protocol.md: no oversale, no lost hold or booking, one
answer to one request, every event published in order. Each violation is printed with the few
operations that show it; its history is kept in .figures/violations.

The figures of all runs are added up in .figures/faults.json. Seed and number identify an episode:
--seed 7 --first 12 --episodes 1 repeats episode 12 of seed 7 with the same fault, workloads and random
choices, but not with the same timing.
"""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: no violation; 1: violations; 2: an episode could not be finished; 130: interrupted."""
    parser = _parser()
    order = _order(parser, arguments)
    print(f"seed {order.seed}, faults {','.join(order.faults)}", flush=True)
    # also in the background, where a shell makes a process ignore interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        report = uvloop.run(run(order))
    except KeyboardInterrupt:
        print("interrupted; the finished episodes are counted", flush=True)
        return 130
    print(
        f"{report.episodes} episodes, {report.operations} operations, "
        f"{report.violations} violations, {report.broken} episodes not finished",
        flush=True,
    )
    return 1 if report.violations else 2 if report.broken or not report.episodes else 0


def _parser() -> argparse.ArgumentParser:
    faults = "\n".join(f"  {name:24} {one.summary}" for name, one in FAULTS.items())
    workloads = "\n".join(f"  {name:24} {one.summary}" for name, one in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        prog="make faults",
        usage="make faults [MINUTES=10] [SEED=…] [FAULTS=a,b] [WORKLOADS=a,b] "
        "[EPISODES=…] [FIRST=…], or python -m tests.faults with these options:",
        description=DESCRIPTION,
        epilog=f"faults:\n{faults}\n\nworkloads:\n{workloads}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="duration of the run (default 10)"
    )
    parser.add_argument(
        "--seed", type=int, help="seed of all random choices (default: random; it is printed)"
    )
    parser.add_argument("--faults", type=_names(FAULTS), default=list(FAULTS), metavar="A,B")
    parser.add_argument(
        "--workloads", type=_names(WORKLOADS), default=list(WORKLOADS), metavar="A,B"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of one episode (default 20)"
    )
    parser.add_argument("--episodes", type=int, help="number of episodes, instead of --minutes")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first episode (default 0)"
    )
    parser.add_argument(
        "--until-violation",
        action="store_true",
        help="stop after the first episode with a violation",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help="folder in which figures are added up",
    )
    return parser


def _order(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> Order:
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(100_000) if given.seed is None else given.seed
    command = f"python -m tests.faults {shlex.join(arguments)}"
    if given.seed is None:
        command += f" --seed {seed}"
    return Order(
        seed=seed,
        seconds=given.seconds,
        faults=given.faults,
        workloads=given.workloads,
        minutes=given.minutes,
        episodes=given.episodes,
        first=given.first,
        until_violation=given.until_violation,
        command=command,
        figures=given.figures,
    )


class _names:  # noqa: N801 - argparse shows its name
    """Parses a list of known names, separated by commas."""

    def __init__(self, known: dict[str, type]) -> None:
        self._known = known

    def __call__(self, text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in self._known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown) or '(none given)'}; known: {', '.join(self._known)}"
            )
        return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
