"""Redis restarts with the same data, with older data or with none; or is emptied while it runs."""

from contextlib import suppress

from redis.exceptions import ResponseError

from tests.faults.faults.base import Fault
from tests.faults.stores import Persistence


class RedisKilled(Fault):
    name = "redis-kill"
    summary = "Redis is killed (-9) and restarts with its whole append-only file"

    async def begin(self) -> None:
        await self.stack.redis.kill()

    async def heal(self) -> None:
        if not self.stack.redis.is_running:
            await self.stack.redis.start()

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.choice((0.0, 0.2, 1.5)))


class RedisOlder(RedisKilled):
    name = "redis-older"
    summary = "Redis is killed (-9) and restarts with a slightly older log or snapshot"

    async def begin(self) -> None:
        store = self.stack.redis
        saved = self.stack.folder / "saved"
        if store.persistence is Persistence.SNAPSHOTS:
            async with self.stack.redis_watcher() as client:
                with suppress(ResponseError):  # one is being written already
                    await client.save()
        store.save_copy(saved)
        await self.pause(self.chance.uniform(0.1, 2.0))
        await store.kill()
        store.put_back(saved)


class RedisEmptied(RedisKilled):
    name = "redis-empty"
    summary = "Redis is killed (-9) and restarts empty, with another persistence than before"

    async def begin(self) -> None:
        await super().begin()
        self.stack.redis.forget()
        self.stack.redis.persistence = self.chance.choice(list(Persistence))


class RedisFlushed(Fault):
    name = "redis-flush"
    summary = "FLUSHALL on a running Redis"

    async def begin(self) -> None:
        async with self.stack.redis_watcher() as client:
            await client.flushall()

    async def heal(self) -> None:
        """Nothing to heal: only data was lost, and the application loads it again."""

    def lasts_seconds(self) -> float:
        return 0.0
