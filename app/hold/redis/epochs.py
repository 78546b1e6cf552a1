"""The epochs of one Redis: which is open, the clock they share, and a `Life` for each."""

from datetime import datetime, timedelta

from redis.asyncio import Redis

from app.hold.model import instant_of
from app.hold.redis import keys
from app.hold.redis.life import Life, life_of
from app.hold.redis.scripts import Scripts

UNLINK_MAX = 500  # keys in one command


class RedisEpochs:
    def __init__(self, scripts: Scripts, ttl: timedelta) -> None:
        """`ttl` is how long a hold lives."""
        self._scripts = scripts
        self._ttl = ttl

    @property
    def client(self) -> Redis:
        return self._scripts.client

    def life(self, number: int) -> Life:
        return life_of(number, self._scripts, self._ttl)

    async def open_number(self) -> int | None:
        number = await self._scripts.command(self.client.get(keys.EPOCH))
        return None if number is None else int(number)

    async def clock(self) -> datetime | None:
        """The instant that no script's time is before; every grant advances it."""
        number = await self._scripts.command(self.client.get(keys.CLOCK))
        return None if number is None else instant_of(int(number))

    async def delete_keys_before(self, number: int) -> None:
        """Deletes the keys of earlier epochs, in small batches.

        A process that a newer epoch has overtaken meanwhile touches none of its keys.
        """
        batch: list[bytes] = []
        async for key in self.client.scan_iter(match=keys.TAG + ":*", count=1000):
            epoch = keys.epoch_of(key.decode())
            if epoch is not None and epoch < number:
                batch.append(key)
            if len(batch) >= UNLINK_MAX:
                await self._scripts.command(self.client.unlink(*batch))
                batch.clear()
        if batch:
            await self._scripts.command(self.client.unlink(*batch))
