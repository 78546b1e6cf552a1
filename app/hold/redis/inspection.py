"""The scripts that inspect and repair the Redis data, typed: flight by flight, hold by hold."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.errors import HoldStoreUnavailable
from app.hold.model import MemoState
from app.hold.redis import keys
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import Scripts, row_arguments
from app.ids import FlightId, HoldId
from app.inventory.model import CabinName, InventoryRow
from app.storage.lua import Argument

COUNT_MAX: Final = 2000  # holds that one call counts: some milliseconds
REPAIR_MAX: Final = 20_000  # holds of one flight that one repair counts
CHUNK: Final = 200
SCAN_COUNT: Final = 1000
DRIFT_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class CabinSeen:
    """One cabin as Redis has it; `counted` is what its live holds add up to, None where not counted."""

    version: int
    limits: tuple[int, ...]
    sold: tuple[int, ...]
    held: tuple[int, ...]
    counted: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """One hold as Redis has it; `is_found` says whether expiry or the resolver will find it."""

    state: MemoState
    is_found: bool
    seats: tuple[tuple[FlightId, int], ...]


UNKNOWN: Final = HoldSeen(MemoState.UNKNOWN, is_found=True, seats=())


class RedisInspection:
    def __init__(self, scripts: Scripts, names: Keys) -> None:
        self._scripts = scripts
        self._keys = names

    async def flights(
        self, flight_ids: Sequence[FlightId]
    ) -> dict[FlightId, dict[CabinName, CabinSeen]]:
        """Each flight's cabins; several calls, since one counts a bounded number of holds."""
        found = dict[FlightId, dict[CabinName, CabinSeen]]()
        left = list(flight_ids)
        while left:
            part = left[:CHUNK]
            answer = await self._scripts.run(
                "inspect_flights",
                [keys.EPOCH, self._keys.pinned, *map(self._keys.flight, part)],
                [self._keys.epoch, self._keys.prefix, COUNT_MAX, *part],
            )
            looked_at = part[: len(answer) - 1]
            for flight_id, packed in zip(looked_at, answer[1:], strict=True):
                found[flight_id] = dict(map(_cabin, filter(None, packed.split(";"))))
            left = left[len(looked_at) :]
        return found

    async def holds(self, hold_ids: Sequence[HoldId]) -> dict[HoldId, HoldSeen]:
        found = dict[HoldId, HoldSeen]()
        for start in range(0, len(hold_ids), CHUNK):
            part = hold_ids[start : start + CHUNK]
            answer = await self._scripts.run(
                "inspect_holds",
                [keys.EPOCH, keys.CLOCK, self._keys.pinned, *map(self._keys.memo, part)],
                [self._keys.epoch, self._keys.prefix, *part],
            )
            found.update(zip(part, map(_hold, answer[1:]), strict=True))
        return found

    async def hold_ids(self) -> AsyncIterator[list[HoldId]]:
        """All holds that have a memo, in batches; a hold may come twice."""
        client, prefix = self._scripts.client, self._keys.memo(HoldId(""))
        cursor = 0
        while True:
            cursor, found = await self._scripts.command(
                client.scan(cursor, match=f"{prefix}*", count=SCAN_COUNT)
            )
            if found:
                yield [HoldId(key.decode().removeprefix(prefix)) for key in found]
            if cursor == 0:
                return

    async def repair_flight(
        self,
        flight_id: FlightId,
        rows: Sequence[InventoryRow],
        hold_ids: Sequence[HoldId],
    ) -> None:
        """The flight says what `rows` say and what its live holds add up to; `hold_ids` are found again."""
        arguments: list[Argument] = [
            self._keys.epoch,
            flight_id,
            self._keys.prefix,
            REPAIR_MAX,
            len(rows),
        ]
        for row in rows:
            arguments += row_arguments(row)
        answer = await self._scripts.run(
            "repair_flight",
            [keys.EPOCH, keys.CLOCK, self._keys.pinned, self._keys.flight(flight_id)],
            [*arguments, *hold_ids],
        )
        if answer != ["REPAIRED"]:
            raise HoldStoreUnavailable("A flight has more holds than can be counted at once.")

    async def take_comparison_lease(self, seconds: float) -> bool:
        """Lets one process at a time compare the stores, for so long."""
        command = self._scripts.client.set(self._keys.comparing, 1, nx=True, px=int(seconds * 1000))
        return bool(await self._scripts.command(command))

    async def renew_comparison_lease(self, seconds: float) -> None:
        await self._scripts.command(
            self._scripts.client.pexpire(self._keys.comparing, int(seconds * 1000))
        )

    async def publish_drift(self, drift: str) -> None:
        """Stores what this process found, so that all processes can report it."""
        await self._scripts.command(
            self._scripts.client.set(self._keys.drift, drift, ex=DRIFT_SECONDS)
        )

    async def published_drift(self) -> str | None:
        found = await self._scripts.command(self._scripts.client.get(self._keys.drift))
        return None if found is None else found.decode()


def _cabin(packed: str) -> tuple[CabinName, CabinSeen]:
    name, version, limits, sold, held, counted = packed.split("|")
    return CabinName(name), CabinSeen(
        int(version),
        _numbers(limits),
        _numbers(sold),
        _numbers(held),
        _numbers(counted) if counted else None,
    )


def _hold(packed: str) -> HoldSeen:
    if packed == "UNKNOWN":
        return UNKNOWN
    state, is_found, lines = packed.split(" ")
    seats = tuple(
        (FlightId(flight), int(many))
        for flight, _, _, many in (line.split("|") for line in lines.split(";") if line)
    )
    return HoldSeen(MemoState(state), is_found == "1", seats)


def _numbers(packed: str) -> tuple[int, ...]:
    return tuple(int(number) for number in packed.split(",") if number)
