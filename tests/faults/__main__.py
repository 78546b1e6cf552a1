"""`make faults`: break a real stack under load, judge what clients were told, add the figures up."""

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
Breaks a real Holdfast while clients use it, and judges what they were told.

Durable PostgreSQL, Valkey, two API processes and two relays are started; each API process speaks to
each store through a TCP link that can be made to fail. Episodes follow each other: workloads run, a
fault is injected again and again and healed, then everything comes to rest, and the history of all
that clients asked and were told is judged together with dumps of PostgreSQL, Redis and the bus, by
the invariants I1 to I12 of docs/protocol.md. Each violation is printed with the few operations that
show it, and its history is kept in .figures/violations.

Figures are added up over all runs in .figures/faults.json. An episode is named by its seed and
number: --seed 7 --first 12 --episodes 1 runs the twelfth of seed 7 again, with the same fault,
workloads and choices, though not with the same timing.
"""


def main(arguments: Sequence[str]) -> int:
    """0: no violation; 1: there were; 2: episodes that could not be finished; 130: stopped."""
    parser = _parser()
    order = _order(parser, arguments)
    print(f"seed {order.seed}, faults {','.join(order.faults)}", flush=True)
    # also where it was started in the background, by a shell that has it ignore interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        report = uvloop.run(run(order))
    except KeyboardInterrupt:
        print("stopped; what was finished is counted", flush=True)
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
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, if not --episodes")
    parser.add_argument("--seed", type=int, help="of every choice; drawn and printed if not given")
    parser.add_argument("--faults", type=_names(FAULTS), default=list(FAULTS), metavar="A,B")
    parser.add_argument(
        "--workloads", type=_names(WORKLOADS), default=list(WORKLOADS), metavar="A,B"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of one episode, with its rest")
    parser.add_argument("--episodes", type=int, help="how many, instead of --minutes")
    parser.add_argument("--first", type=int, default=0, help="the number of the first episode")
    parser.add_argument(
        "--until-violation", action="store_true", help="end after the first episode that shows one"
    )
    parser.add_argument(
        "--figures", type=Path, default=FOLDER, metavar="FOLDER", help="where they are added up"
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
    """Some of what there is, by name, with commas between."""

    def __init__(self, known: dict[str, type]) -> None:
        self._known = known

    def __call__(self, text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if name not in self._known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(
                f"no {', '.join(unknown) or 'name'}; there are {', '.join(self._known)}"
            )
        return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
