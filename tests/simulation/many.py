"""Many seeds, on as many processes as there are to give; the order of the verdicts is that of the seeds.

Whoever stops half way, by an interruption too, has the verdicts of all seeds before that.
"""

import gc
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import get_context

from tests.simulation.mutants import planted
from tests.simulation.scheduler import Verdict, run_seed

AT_ONCE = 10  # seeds that a worker takes


def verdicts(
    seeds: Sequence[int], steps: int, processes: int, mutant: str | None = None
) -> Iterator[Verdict]:
    parts = [seeds[start : start + AT_ONCE] for start in range(0, len(seeds), AT_ONCE)]
    work = partial(_run_part, steps=steps, mutant=mutant)
    if processes == 1:
        for part in parts:
            yield from work(part)
        return
    workers = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_leave_interruptions
    )
    try:
        for judged in workers.map(work, parts):
            yield from judged
    finally:
        workers.shutdown(cancel_futures=True)


def _leave_interruptions() -> None:
    """To the process that asks: it ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_part(seeds: Sequence[int], *, steps: int, mutant: str | None) -> list[Verdict]:
    with _collecting_between_seeds(), nullcontext() if mutant is None else planted(mutant):
        return [_run_alone(seed, steps) for seed in seeds]


def _run_alone(seed: int, steps: int) -> Verdict:
    verdict = run_seed(seed, steps)
    gc.collect()
    return verdict


@contextmanager
def _collecting_between_seeds() -> Iterator[None]:
    """A world is small, and goes as a whole; what outlives it is not looked through again and again."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
