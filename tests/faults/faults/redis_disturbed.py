"""Redis runs, but is frozen, has lost its scripts, or has an eviction policy that drops keys."""

from tests.faults.faults.base import Fault


class RedisFrozen(Fault):
    name = "redis-freeze"
    summary = "Redis is stopped (SIGSTOP) for 0.1 to 20 s, as long as the episode allows"

    async def begin(self) -> None:
        self.stack.redis.freeze()

    async def heal(self) -> None:
        self.stack.redis.thaw()

    def lasts_seconds(self) -> float:
        return min(
            self.longest_seconds, self.chance.choice((0.1, 0.5, 0.9, 1.1, 2.0, 4.0, 8.0, 20.0))
        )


class ScriptsFlushed(Fault):
    name = "redis-script-flush"
    summary = "SCRIPT FLUSH: Redis loses its scripts"

    async def begin(self) -> None:
        async with self.stack.redis_watcher() as client:
            await client.script_flush()

    async def heal(self) -> None:
        """Nothing to heal: a process loads a missing script again."""

    def lasts_seconds(self) -> float:
        return 0.0


class PolicyChanged(Fault):
    name = "redis-policy"
    summary = "Redis gets an eviction policy that drops keys, and every connection is reset"

    async def begin(self) -> None:
        await self._set("allkeys-lru")
        for api in self.stack.apis:
            api.redis_link.cut()

    async def heal(self) -> None:
        await self._set("noeviction")

    async def _set(self, policy: str) -> None:
        async with self.stack.redis_watcher() as client:
            await client.config_set("maxmemory-policy", policy)
