"""Finishes what a booking left behind: a hold that stayed pinned is settled by the journal's word.

A process that ends between the commit and the script leaves a hold pinned for ever; time must not free
it, since its transaction may have committed. Settling asks the journal and waits for whoever still
holds its row, so that any process may settle any hold, at any moment, twice.
"""

from datetime import timedelta
from typing import Final

import structlog

from app.errors import DomainError
from app.hold.epochs.current import CurrentEpoch
from app.hold.pinning import Pins

_log = structlog.get_logger(__name__)

PINNED_FOR: Final = timedelta(seconds=5)  # longer than any request lasts: most finish by themselves


class Resolver:
    def __init__(self, pins: Pins, epochs: CurrentEpoch) -> None:
        self._pins = pins
        self._epochs = epochs

    async def run_once(self, pinned_for: timedelta = PINNED_FOR) -> int:
        """How many were settled; one that cannot be settled now does not keep the others from it."""
        settled = 0
        for hold_id in await self._epochs.run(
            lambda life: life.holds.pinned_longer_than(pinned_for)
        ):
            try:
                await self._pins.settle(hold_id)
                settled += 1
            except DomainError as error:
                _log.warning("hold_not_settled", hold_id=hold_id, error_type=type(error).__name__)
        return settled
