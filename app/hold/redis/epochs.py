"""The typed face of the scripts that open and close a life of the Redis data."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from app.hold.journal.scans import LiveHold
from app.hold.model import instant_of, microseconds
from app.hold.redis import keys
from app.hold.redis.holds import request_digest
from app.hold.redis.keys import Keys
from app.hold.redis.scripts import Scripts
from app.storage.lua import Argument

HOLDS_AT_ONCE: Final = 200


class RedisEpochs:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def begin_loading(self, epoch: int) -> bool:
        """Claims the loading; False where a newer claim was made."""
        answer = await self._scripts.ask("begin_loading", [keys.LOADING, keys.EPOCH], [epoch])
        return bool(answer == ["BEGUN"])

    async def load_part(
        self, epoch: int, number: int, *, memos: str = "", waits: Sequence[Argument] = ()
    ) -> None:
        """Of very many holds, their memos or what they add to flights; each number once."""
        names = Keys(epoch)
        await self._scripts.ask(
            "load_part",
            [keys.LOADING, names.parts],
            [epoch, names.prefix, number, memos, *waits],
            alone=True,
        )

    async def load_holds(self, epoch: int, holds: Sequence[LiveHold]) -> None:
        """A few, at most HOLDS_AT_ONCE; one that is there is left alone."""
        assert len(holds) <= HOLDS_AT_ONCE, "the script's bounds are counted for that many"
        names = Keys(epoch)
        await self._scripts.ask(
            "load_holds",
            [keys.LOADING, *(names.memo(hold.hold_id) for hold in holds)],
            [epoch, names.prefix, *map(_packed, holds)],
        )

    async def open_epoch(self, epoch: int, clock_at_least: datetime) -> None:
        await self._scripts.ask(
            "open_epoch",
            [keys.LOADING, keys.EPOCH, keys.CLOCK],
            [epoch, microseconds(clock_at_least)],
        )

    async def open_epoch_number(self) -> int | None:
        number = await self._scripts.send(self._scripts.client.get(keys.EPOCH))
        return None if number is None else int(number)

    async def clock(self) -> datetime | None:
        """The instant that no script's time runs behind; every grant has moved it on."""
        number = await self._scripts.send(self._scripts.client.get(keys.CLOCK))
        return None if number is None else instant_of(int(number))

    async def discard_earlier_epochs(self, epoch: int) -> None:
        """Frees the keys of ended lives of the data, in small bites; whoever is overtaken meanwhile
        touches nothing of the newer.
        """
        bite: list[bytes] = []
        async for key in self._scripts.client.scan_iter(match=keys.TAG + ":*", count=1000):
            of = keys.epoch_of(key.decode())
            if of is not None and of < epoch:
                bite.append(key)
            if len(bite) >= 500:
                await self._scripts.send(self._scripts.client.unlink(*bite))
                bite.clear()
        if bite:
            await self._scripts.send(self._scripts.client.unlink(*bite))


def _packed(hold: LiveHold) -> str:
    """One argument and not seven: of a hundred thousand holds that is most of the work."""
    lines = ";".join(f"{flight}|{cabin}|{at}|{seats}" for flight, cabin, at, seats in hold.lines)
    return (
        f"{hold.hold_id} {lines} {microseconds(hold.expires_at)} {microseconds(hold.granted_at)}"
        f" {hold.fence} {hold.extensions_used} {request_digest(hold.request_hash)}"
    )
