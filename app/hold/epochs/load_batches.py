"""The sums that very many live holds add to flights, as arguments of load_part.lua."""

from collections.abc import Iterator
from typing import Final

from app.ids import HoldId
from app.storage.lua import Argument

ARGUMENTS_MAX: Final = 2000  # of one call, about: some milliseconds
HOLDS_MAX: Final = 1000  # holds of one flight in one call: Lua unpacks a few thousand


class ExpiryBatches:
    """Pure. A memo is a line of what `scans.memo_page` reads."""

    def __init__(self) -> None:
        self.count = 0
        self._of_line: dict[
            str, list[str]
        ] = {}  # flight|cabin|position|seats: expires_at, hold_id, ...

    def add(self, memo: str) -> HoldId:
        hold_id, lines, expires_at, _ = memo.split(" ", 3)
        for line in lines.split(";"):
            self._of_line.setdefault(line, []).extend((expires_at, hold_id))
        self.count += 1
        return HoldId(hold_id)

    def parts(self) -> Iterator[list[Argument]]:
        """Batches of arguments, flight by flight, so that each flight is written once."""
        part: list[Argument] = []
        for line, expiries in sorted(self._of_line.items()):
            flight, cabin, position, seats = line.split("|")
            for start in range(0, len(expiries), 2 * HOLDS_MAX):
                some = expiries[start : start + 2 * HOLDS_MAX]
                taken = int(seats) * (len(some) // 2)
                part += [flight, cabin, position, taken, min(some[::2], key=int), len(some), *some]
                if len(part) >= ARGUMENTS_MAX:
                    yield part
                    part = []
        if part:
            yield part
