"""`make bench`: measures Holdfast against baselines of the same run, and writes the figures down."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.generator import Generator
from benchmarks.machine import Machine, this_machine
from benchmarks.rows import DEFAULT, ROWS
from benchmarks.rows.base import Bench, Line
from benchmarks.stage import serving

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks"
DESCRIPTION = """\
Measures a real Holdfast (durable PostgreSQL, Valkey, the API as shipped with one worker) against
baselines that are measured in the same run, in turn: A B A B. A figure is the median of the rounds'
ratios. Absolute figures are for orientation, and say more about the machine.

Servers are started in a private temporary folder, on free ports, and stopped at the end. Results go
to docs/benchmarks: results.json, results.md and plots; rows that were not run keep what they had.
"""


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        lines, failed = asyncio.run(_run(given))
    except KeyboardInterrupt:
        print("stopped; what was finished is kept", flush=True)
        return 130
    print("\n" + report.table(lines), flush=True)
    if failed:
        print(f"not measured: {', '.join(failed)}; see above", flush=True)
    return 1 if failed else 0


async def _run(given: argparse.Namespace) -> tuple[list[Line], list[str]]:
    """The lines, and the rows that could not be measured."""
    names = given.rows or DEFAULT
    told: list[Line] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(
        prefix="hf-bench-", dir=given.folder, ignore_cleanup_errors=True
    ) as folder:
        machine = this_machine(Path(folder))
        print(f"{machine.text}; commit {machine.commit}, {machine.date}", flush=True)
        how = f"{given.rounds} rounds of {given.seconds:g} s"
        if given.scale != 1:
            how += f", populations × {given.scale:g}"
        async with serving(Path(folder)) as servers:
            generator = await Generator.start()
            try:
                bench = Bench(
                    servers,
                    generator,
                    Path(folder),
                    given.rounds,
                    given.seconds,
                    given.scale,
                    _say,
                )
                for name in names:
                    try:
                        told += await _row(bench, name, given.results, machine, how)
                    except Exception:  # one row's trouble is not the others'
                        traceback.print_exc()
                        failed.append(name)
            finally:
                await generator.stop()
    return told, failed


async def _row(bench: Bench, name: str, results: Path, machine: Machine, how: str) -> list[Line]:
    started = time.monotonic()
    print(f"{name}: {ROWS[name].told} …", flush=True)
    lines = await ROWS[name].run(bench)
    report.keep(results, name, lines, machine, how)
    report.write(results, list(ROWS))
    for line in lines:
        print(f"  {line.row}: {line.figure.median:,.2f} {line.unit} {line.verdict}", flush=True)
    print(f"  {time.monotonic() - started:.0f} s", flush=True)
    return lines


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(
        f"  {name:16} {row.told}{'' if name in DEFAULT else ' (only by name)'}"
        for name, row in ROWS.items()
    )
    parser = argparse.ArgumentParser(
        prog="make bench",
        usage="make bench [ROWS=a,b] [ROUNDS=5] [SECONDS=3], or python -m benchmarks with these options:",
        description=DESCRIPTION,
        epilog=f"rows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=_names, metavar="A,B", help="instead of the default set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one arm of one round")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the populations; below 1 to try a row out"
    )
    parser.add_argument("--folder", type=Path, help="where the servers keep their data")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    return parser


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in ROWS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"no {', '.join(unknown) or 'name'}; there are {', '.join(ROWS)}"
        )
    return names


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
