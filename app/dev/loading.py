"""Loads the sample network into the stores of a starting stack.

The supervisor imports this module late, because its imports take seconds.
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
    """Returns how many flights were added to those of an earlier start."""
    configure_logging("WARNING")  # the progress is shown instead
    core = core_of(settings)
    added, failure = 0, None
    try:
        async with watching(core):
            try:
                await _until_open(core)
                added = await top_up(core.database, core.availability.apply, utc_now, progress)
            except Exception as error:  # raised below: the task group would wrap it
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
    """With an open epoch each flight reaches Redis as it is loaded."""
    async with asyncio.timeout(_OPEN_SECONDS):
        while True:
            try:
                await core.check_hold_store()
            except DomainError:
                await asyncio.sleep(0.05)
            else:
                return
