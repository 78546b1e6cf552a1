"""The typed face of the scripts that open and close a life of the Redis data."""

from collections.abc import Sequence
from datetime import datetime

from app.hold import keys
from app.hold.keys import Keys
from app.hold.model import Promise, microseconds
from app.hold.scripts import Scripts
from app.hold.store import pack, request_digest
from app.storage.lua import Argument


class EpochStore:
    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def begin_loading(self, epoch: int) -> bool:
        """Claims the loading; False where a newer claim was made."""
        answer = await self._scripts.ask("begin_loading", [keys.LOADING, keys.EPOCH], [epoch])
        return bool(answer == ["BEGUN"])

    async def load_holds(self, epoch: int, promises: Sequence[Promise]) -> None:
        names = Keys(epoch)
        arguments: list[Argument] = [epoch, names.prefix]
        for promise in promises:
            arguments += [
                promise.hold_id,
                pack(promise.lines),
                microseconds(promise.expires_at),
                microseconds(promise.granted_at),
                promise.fence,
                "1" if promise.extensions_used else "",
                request_digest(promise.request_hash),
            ]
        await self._scripts.ask(
            "load_holds",
            [keys.LOADING, *(names.memo(promise.hold_id) for promise in promises)],
            arguments,
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
