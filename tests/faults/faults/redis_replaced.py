"""Another Redis takes over: a replica that lags, also while the old primary still serves."""

import asyncio

from tests.faults.faults.base import Fault
from tests.faults.proxy import Address, Mode, Proxy
from tests.faults.scene import Scene
from tests.faults.stores import Persistence

_SYNCED_SECONDS = 10.0


class RedisPromoted(Fault):
    name = "redis-promoted"
    summary = "the link to a replica stalls, the primary is killed, the replica takes over"

    def __init__(self, scene: Scene, longest_seconds: float) -> None:
        super().__init__(scene, longest_seconds)
        self.old = self.stack.redis
        self.new = self.stack.new_store(Persistence.APPENDED)
        self._link = Proxy(Address("127.0.0.1", self.old.port))

    async def begin(self) -> None:
        await self._link.start()
        await self.new.start()
        await self._follow()
        self._link.set_mode(Mode.BLACK_HOLE)  # from now on the replica lags
        await self.pause(self.chance.uniform(0.1, 1.5))
        await self._take_over()

    async def heal(self) -> None:
        await self._link.close()
        if self.stack.redis is self.new:
            self.stack.lead_to(self.new, self.stack.apis)
            await self.old.stop()
        else:  # the takeover did not happen
            await self.new.stop()
            if not self.old.is_running:
                await self.old.start()

    async def _take_over(self) -> None:
        await self.old.kill()
        await self._promote()
        self.stack.lead_to(self.new, self.stack.apis)

    async def _follow(self) -> None:
        async with self.new.client() as client:
            await client.config_set("masterauth", self.old.password)
            await client.replicaof("127.0.0.1", str(self._link.port))
            async with asyncio.timeout(_SYNCED_SECONDS):
                while True:
                    if (await client.info("replication"))["master_link_status"] == "up":
                        return
                    await asyncio.sleep(0.02)

    async def _promote(self) -> None:
        async with self.new.client() as client:
            await client.replicaof("NO", "ONE")
        self.stack.redis = self.new


class OldPrimary(RedisPromoted):
    name = "redis-old-primary"
    summary = (
        "a lagging replica takes over for one process, while the old primary still serves the other"
    )

    async def _take_over(self) -> None:
        await self._promote()
        self.stack.lead_to(self.new, [self.chance.choice(self.stack.apis)])

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.uniform(1.0, 5.0))
