"""Loads the sample network into the stores of a stack that is coming up.

Imported late by the supervisor: what it needs takes seconds to import.
"""

import asyncio
from collections.abc import Callable

from app.clock import utc_now
from app.dev.errors import CannotStartError
from app.dev.sample import top_up
from app.errors import DomainError
from app.settings import Settings
from app.telemetry.logging import configure_logging
from app.wiring import Core, core_of, watching

_OPEN_SECONDS = 60.0


async def load_sample(settings: Settings, progress: Callable[[int, int], None]) -> int:
    """How many flights were added to those of an earlier start."""
    configure_logging("WARNING")  # the person reads the progress
    core = core_of(settings)
    added, failure = 0, None
    try:
        async with watching(core):
            try:
                await _until_open(core)
                added = await top_up(core.database, core.availability.apply, utc_now, progress)
            except Exception as error:  # raised below: the tasks beside it would wrap it
                failure = error
    finally:
        await core.close()
    if failure is not None:
        reason = str(failure).strip() or type(failure).__name__
        raise CannotStartError(
            f"the sample network could not be loaded: {reason.splitlines()[0]}"
        ) from failure
    return added


async def _until_open(core: Core) -> None:
    """An open hold store takes each flight as it is loaded."""
    async with asyncio.timeout(_OPEN_SECONDS):
        while True:
            try:
                await core.check_hold_store()
            except DomainError:
                await asyncio.sleep(0.05)
            else:
                return
