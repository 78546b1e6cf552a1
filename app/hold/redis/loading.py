"""The scripts that load one epoch and open it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from app.hold.model import LiveHold, microseconds
from app.hold.redis import keys
from app.hold.redis.holds import request_digest
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import Scripts
from app.storage.lua import Argument

HOLDS_MAX: Final = 200  # in one call of load_holds.lua


class RedisLoading:
    """Raises EpochMoved where another rebuild has taken the load lease since."""

    def __init__(self, scripts: Scripts, names: Keys) -> None:
        self._scripts = scripts
        self._keys = names

    async def begin(self) -> bool:
        """Takes the load lease; False where a newer epoch has it."""
        answer = await self._scripts.run(
            "begin_loading", [keys.LOADING, keys.EPOCH], [self._keys.epoch]
        )
        return bool(answer == ["BEGUN"])

    async def load_rows(self, packed: str) -> None:
        """Applies inventory rows, as app/inventory/pages.py packs them."""
        await self._scripts.run(
            "load_rows",
            [keys.LOADING],
            [self._keys.epoch, self._keys.prefix, packed],
            is_batched=False,
        )

    async def load_part(
        self, number: int, *, memos: str = "", sums: Sequence[Argument] = ()
    ) -> None:
        """Writes memos, or what many holds add to flights; a number that was written before is skipped."""
        await self._scripts.run(
            "load_part",
            [keys.LOADING, self._keys.parts],
            [self._keys.epoch, self._keys.prefix, number, memos, *sums],
            is_batched=False,
        )

    async def load_holds(self, holds: Sequence[LiveHold]) -> None:
        """Writes at most HOLDS_MAX holds; one that is there already stays as it is."""
        assert len(holds) <= HOLDS_MAX, "the bounds of the script are computed for that many"
        await self._scripts.run(
            "load_holds",
            [keys.LOADING, *(self._keys.memo(hold.hold_id) for hold in holds)],
            [self._keys.epoch, self._keys.prefix, *map(_packed, holds)],
        )

    async def open(self, clock_at_least: datetime) -> None:
        """Makes it the open epoch; no script reads a time before `clock_at_least`."""
        await self._scripts.run(
            "open_epoch",
            [keys.LOADING, keys.EPOCH, keys.CLOCK],
            [self._keys.epoch, microseconds(clock_at_least)],
        )


def _packed(hold: LiveHold) -> str:
    """One argument instead of seven: with 100,000 holds, arguments are most of the work."""
    lines = ";".join(f"{flight}|{cabin}|{at}|{seats}" for flight, cabin, at, seats in hold.lines)
    return (
        f"{hold.hold_id} {lines} {microseconds(hold.expires_at)} {microseconds(hold.granted_at)}"
        f" {hold.fencing_token} {hold.extensions_used} {request_digest(hold.request_hash)}"
    )
