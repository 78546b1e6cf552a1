"""The typed face of the scripts that count seats: what is open, what Postgres says, who is fenced off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from app.errors import HoldStoreUnavailable
from app.hold.redis import keys
from app.hold.redis.holds import AGAIN_MAX, TAKE_BACK_MAX
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import Scripts, row_arguments
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName, InventoryRow
from app.storage.lua import Argument

FENCE_LASTS: Final = timedelta(seconds=10)
COUNTS_MAX: Final = 8192  # numbers of cabins as they were read: most come again unchanged
UNSAID_MAX: Final = (
    2000  # holds taken back that the journal does not know of: more is no time to count
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Seats of a cabin, class by class, that are sold, held, or ran out and were not yet told of."""

    version: int  # of the row that Redis counted by
    seats: tuple[int, ...]


class RedisSeats:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def counts(
        self, epoch: int, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        """The live numbers of each cabin named, in order; None where Redis does not know it."""
        names = Keys(epoch)
        if not cabins:
            return []
        answer = await self._scripts.ask(
            "read_availability",
            [keys.EPOCH, *(names.flight(flight_id) for flight_id, _ in cabins)],
            [epoch, *(cabin.value for _, cabin in cabins)],
        )
        return [_counts(packed) for packed in answer[1:]]

    async def taken(
        self, epoch: int, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[Taken | None]:
        """What each cabin's ceilings must not go below, in order; None where that cannot be said."""
        names = Keys(epoch)
        answer = await self._scripts.ask(
            "read_taken",
            [keys.EPOCH, names.ended, *(names.flight(flight_id) for flight_id, _ in cabins)],
            [epoch, names.prefix, UNSAID_MAX, *(cabin.value for _, cabin in cabins)],
        )
        if answer == ["UNSURE"]:
            return [None] * len(cabins)
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        return [
            Taken(int(version), _numbers(seats)) if version else None for version, seats in pairs
        ]

    async def apply(
        self,
        epoch: int,
        rows: Sequence[InventoryRow],
        *,
        lift_fence: str = "",
    ) -> None:
        """Takes over each row iff it is newer than what is here."""
        names = Keys(epoch)
        arguments: list[Argument] = [epoch, lift_fence]
        for row in rows:
            arguments += row_arguments(row)
        await self._scripts.ask(
            "apply_inventory",
            [keys.EPOCH, *(names.flight(row.flight_id) for row in rows)],
            arguments,
        )

    async def load(self, epoch: int, packed: str) -> None:
        """As `apply`, while the epoch is loaded; `packed` is what app/inventory/pages.py reads."""
        await self._scripts.ask(
            "load_rows", [keys.LOADING], [epoch, Keys(epoch).prefix, packed], alone=True
        )

    async def fence(self, epoch: int, flight_id: FlightId, name: str) -> bool:
        """Keeps holds off the flight for a moment; False where seats of it are held. Replaces any
        other fence, which its own name then no longer lifts.
        """
        names = Keys(epoch)
        for _ in range(AGAIN_MAX):
            answer = await self._scripts.ask(
                "fence_flight",
                [keys.EPOCH, keys.CLOCK, names.flight(flight_id)],
                [
                    epoch,
                    flight_id,
                    names.prefix,
                    FENCE_LASTS // timedelta(microseconds=1),
                    TAKE_BACK_MAX,
                    name,
                ],
            )
            if answer != ["AGAIN"]:
                return bool(answer == ["FENCED"])
        raise HoldStoreUnavailable("Too many holds are running out at once; retry shortly.")


@lru_cache(maxsize=COUNTS_MAX)
def _counts(packed: str) -> CabinCounts | None:
    if not packed:
        return None
    limits, sold, held, version = packed.split("|")
    return CabinCounts(_numbers(limits), _numbers(sold), _numbers(held), int(version))


def _numbers(packed: str) -> tuple[int, ...]:
    return tuple(map(int, packed.split(",")))
