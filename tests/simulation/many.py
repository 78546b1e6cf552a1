"""Many seeds on several worker processes; verdicts come in the order of the seeds.

A caller that stops half way, also by an interruption, has the verdicts of all seeds before.
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

SEEDS_PER_PART = 10  # seeds that a worker takes at a time


def verdicts(
    seeds: Sequence[int], steps: int, processes: int, mutant: str | None = None
) -> Iterator[Verdict]:
    parts = [
        seeds[start : start + SEEDS_PER_PART] for start in range(0, len(seeds), SEEDS_PER_PART)
    ]
    work = partial(_run_part, steps=steps, mutant=mutant)
    if processes == 1:
        for part in parts:
            yield from work(part)
        return
    workers = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_ignore_interruptions
    )
    try:
        for judged in workers.map(work, parts):
            yield from judged
    finally:
        workers.shutdown(cancel_futures=True)


def _ignore_interruptions() -> None:
    """Leave interruptions to the parent process, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_part(seeds: Sequence[int], *, steps: int, mutant: str | None) -> list[Verdict]:
    with _gc_between_seeds(), nullcontext() if mutant is None else planted(mutant):
        return [_run_alone(seed, steps) for seed in seeds]


def _run_alone(seed: int, steps: int) -> Verdict:
    verdict = run_seed(seed, steps)
    gc.collect()
    return verdict


@contextmanager
def _gc_between_seeds() -> Iterator[None]:
    """Collect garbage between seeds only: a world is small, and a collection scans all loaded modules."""
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
