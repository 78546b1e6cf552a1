"""The Bloom filter of idempotency keys in Redis: which keys were granted a hold in the last day."""

from collections.abc import Sequence
from typing import Final

from app.hold.redis import keys
from app.hold.redis.keys import Keys, mark_of
from app.hold.redis.scripts import Scripts
from app.ids import HoldId

LEASE_MS: Final = (
    60_000  # from one batch to the next; two processes that fill it at once do no harm
)


class RedisKeyFilter:
    def __init__(self, scripts: Scripts, names: Keys) -> None:
        self._scripts = scripts
        self._keys = names

    async def is_complete(self) -> bool:
        """Whether the keys of earlier epochs are in it; until then it can say of no key that it is new."""
        client = self._scripts.client
        return await self._scripts.command(client.get(self._keys.all_granted)) is not None

    async def take_lease(self) -> bool:
        """One process fills it at a time; after one that failed, the next waits for the lease to end."""
        command = self._scripts.client.set(self._keys.marking, 1, nx=True, px=LEASE_MS)
        return bool(await self._scripts.command(command))

    async def add(self, first_ids: Sequence[HoldId], *, completes: bool = False) -> None:
        """Adds the keys whose first attempts have these ids; `completes` says that no more will come."""
        await self._scripts.run(
            "record_granted_keys",
            [keys.EPOCH, keys.CLOCK, self._keys.marking, self._keys.all_granted],
            [
                self._keys.epoch,
                self._keys.prefix,
                LEASE_MS,
                "ALL" if completes else "MORE",
                ",".join(map(str, map(mark_of, first_ids))),
            ],
            is_batched=False,
        )
