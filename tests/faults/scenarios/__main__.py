"""`make faults SCENARIO=redis-flushed`: runs scenarios at full size and prints the result of each."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from app.telemetry.logging import configure_logging
from tests.faults.scenarios.plays import SCENARIOS


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: nothing was lost; 1: the failed assertion is printed."""
    parser = argparse.ArgumentParser(
        prog="make faults SCENARIO=…",
        description=__doc__,
        epilog="\n".join(f"  {name:24} {one.summary}" for name, one in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="SCENARIO", help="scenarios to run (default: all)"
    )
    parser.add_argument("--small", action="store_true", help="at the size of the tests")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    configure_logging("ERROR")
    return max([_play(name, is_small=given.small) for name in given.names or SCENARIOS])


def _play(name: str, *, is_small: bool) -> int:
    scenario = SCENARIOS[name]
    play = scenario.small if is_small else scenario.full
    began = time.monotonic()

    async def played() -> str:
        return await play(Path(folder))

    code, result = 1, ""
    with tempfile.TemporaryDirectory(prefix="hf-", ignore_cleanup_errors=True) as folder:
        try:
            result, code = uvloop.run(played()), 0
        except* AssertionError as errors:
            result = f"FAILED: {errors.exceptions}"
    print(f"{name} ({time.monotonic() - began:.0f} s): {result}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
