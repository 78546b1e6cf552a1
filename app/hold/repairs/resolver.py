"""The resolver: settles holds that a booking left pinned.

A process that fails between its commit and its script leaves the hold pinned. The hold must not expire,
since the transaction may have committed. Settling reads the journal and waits for a transaction that has
locked its row, so that any process may settle any hold, at any time, twice.
"""

from datetime import timedelta
from typing import Final

import structlog

from app.errors import DomainError
from app.hold.epochs.current import CurrentEpoch
from app.hold.pinning import Pins

_log = structlog.get_logger(__name__)

PINNED_FOR: Final = timedelta(seconds=5)  # longer than any request


class Resolver:
    def __init__(self, pins: Pins, epochs: CurrentEpoch) -> None:
        self._pins = pins
        self._epochs = epochs

    async def run_once(self, pinned_for: timedelta = PINNED_FOR) -> int:
        """Make one pass; return the number of holds settled. One that fails does not stop the others."""
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
