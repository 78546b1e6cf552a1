"""The scripts that count seats, typed: live numbers, rows of Postgres, write barriers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from app.errors import HoldStoreUnavailable
from app.hold.redis import keys
from app.hold.redis.holds import AGAIN_MAX, EXPIRE_MAX
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import Scripts, row_arguments
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName, InventoryRow
from app.storage.lua import Argument

BARRIER_LASTS: Final = timedelta(seconds=10)
COUNTS_MAX: Final = (
    8192  # parsed numbers of cabins: most are unchanged when a search reads them again
)
UNRECORDED_MAX: Final = (
    2000  # expired holds not yet EXPIRED in the journal; with more, one call would count too long
)


@dataclass(frozen=True, slots=True)
class TakenSeats:
    """Seats of a cabin by class: sold, held, or expired and not yet EXPIRED in the journal."""

    version: int  # of the row that Redis counted by
    seats: tuple[int, ...]


class RedisSeats:
    def __init__(self, scripts: Scripts, names: Keys) -> None:
        self._scripts = scripts
        self._keys = names

    async def counts(
        self, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        """The live numbers of each cabin named, in order; None where Redis does not know it."""
        if not cabins:
            return []
        answer = await self._scripts.run(
            "read_availability",
            [keys.EPOCH, *(self._keys.flight(flight_id) for flight_id, _ in cabins)],
            [self._keys.epoch, *(cabin.value for _, cabin in cabins)],
        )
        return [_counts(packed) for packed in answer[1:]]

    async def taken_seats(
        self, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[TakenSeats | None]:
        """What each cabin's ceilings must not go below, in order; None if it is unknown."""
        answer = await self._scripts.run(
            "read_taken_seats",
            [
                keys.EPOCH,
                self._keys.ended,
                *(self._keys.flight(flight_id) for flight_id, _ in cabins),
            ],
            [
                self._keys.epoch,
                self._keys.prefix,
                UNRECORDED_MAX,
                *(cabin.value for _, cabin in cabins),
            ],
        )
        if answer == ["UNSURE"]:
            return [None] * len(cabins)
        pairs = zip(answer[1::2], answer[2::2], strict=True)
        return [
            TakenSeats(int(version), _numbers(seats)) if version else None
            for version, seats in pairs
        ]

    async def apply(
        self,
        rows: Sequence[InventoryRow],
        *,
        lift_barrier: str = "",
    ) -> None:
        """Takes over each row iff it is newer than what is here."""
        arguments: list[Argument] = [self._keys.epoch, lift_barrier]
        for row in rows:
            arguments += row_arguments(row)
        await self._scripts.run(
            "apply_inventory",
            [keys.EPOCH, *(self._keys.flight(row.flight_id) for row in rows)],
            arguments,
        )

    async def raise_write_barrier(self, flight_id: FlightId, name: str) -> bool:
        """Blocks holds on the flight for at most BARRIER_LASTS; False if seats of it are held.

        Replaces an earlier barrier, which its own name then no longer lifts.
        """
        for _ in range(AGAIN_MAX):
            answer = await self._scripts.run(
                "raise_write_barrier",
                [keys.EPOCH, keys.CLOCK, self._keys.flight(flight_id)],
                [
                    self._keys.epoch,
                    flight_id,
                    self._keys.prefix,
                    BARRIER_LASTS // timedelta(microseconds=1),
                    EXPIRE_MAX,
                    name,
                ],
            )
            if answer != ["AGAIN"]:
                return bool(answer == ["BLOCKED"])
        raise HoldStoreUnavailable("Too many holds expire at once; retry shortly.")


@lru_cache(maxsize=COUNTS_MAX)
def _counts(packed: str) -> CabinCounts | None:
    if not packed:
        return None
    limits, sold, held, version = packed.split("|")
    return CabinCounts(_numbers(limits), _numbers(sold), _numbers(held), int(version))


def _numbers(packed: str) -> tuple[int, ...]:
    return tuple(map(int, packed.split(",")))
