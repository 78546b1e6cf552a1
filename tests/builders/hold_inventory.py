"""A fake of the seat holding that the schedule uses: records its calls and answers as configured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from app.errors import HoldStoreUnavailable
from app.ids import FlightId
from app.inventory.model import CabinCounts, CabinName, Flight, InventoryRow


@dataclass
class RecordingHoldInventory:
    epoch: int | None = 1  # the answer to a write barrier; None: seats are held
    applied: list[tuple[list[InventoryRow], bool]] = field(default_factory=list)
    fenced: list[FlightId] = field(default_factory=list)
    live: dict[FlightId, Mapping[CabinName, CabinCounts]] = field(default_factory=dict)
    is_away: bool = False
    on_fence: Callable[[], object] | None = None

    async def raise_write_barrier(self, flight_id: FlightId, name: str) -> int | None:
        self.fenced.append(flight_id)
        if self.on_fence is not None:
            happening = self.on_fence()
            if hasattr(happening, "__await__"):
                await happening
        return self.epoch

    async def apply(self, rows: Sequence[InventoryRow], *, lift_barrier: str = "") -> None:
        self.applied.append((list(rows), bool(lift_barrier)))

    async def availability(
        self, flights: Sequence[Flight]
    ) -> Mapping[FlightId, Mapping[CabinName, CabinCounts]]:
        if self.is_away:
            raise HoldStoreUnavailable
        return {f.flight_id: self.live[f.flight_id] for f in flights if f.flight_id in self.live}
