"""Faults of the links between the API processes and the two stores: lost, late or cut connections."""

from collections.abc import Sequence

from tests.faults.faults.base import Fault
from tests.faults.proxy import Mode, Proxy
from tests.faults.scene import Scene


class _Link(Fault):
    """A fault of the links of one process or both, to one store or both."""

    mode = Mode.PASS

    def __init__(self, scene: Scene, longest_seconds: float) -> None:
        super().__init__(scene, longest_seconds)
        apis = self.stack.apis
        self._apis = self.chance.choice([apis, *([one] for one in apis)])

    def links(self) -> Sequence[Proxy]:
        ways = self.chance.choice((1, 2, 3))
        redis = [api.redis_link for api in self._apis if ways & 1]
        return [*redis, *(api.postgres_link for api in self._apis if ways & 2)]

    async def begin(self) -> None:
        for link in self.links():
            link.set_mode(self.mode)

    async def heal(self) -> None:
        self.stack.undo_links()


class RedisRepliesDropped(_Link):
    name = "redis-replies-dropped"
    summary = "Redis executes commands, but its replies are lost"
    mode = Mode.DROP_REPLIES

    def links(self) -> Sequence[Proxy]:
        return [api.redis_link for api in self._apis]


class PostgresRepliesDropped(_Link):
    name = "postgres-replies-dropped"
    summary = "PostgreSQL commits transactions, but its replies are lost"
    mode = Mode.DROP_REPLIES

    def links(self) -> Sequence[Proxy]:
        return [api.postgres_link for api in self._apis]


class HalfOpen(_Link):
    name = "half-open"
    summary = "a link accepts everything and delivers nothing, and is reset when it heals"
    mode = Mode.BLACK_HOLE


class Stalled(_Link):
    name = "stalled"
    summary = "a link keeps everything and delivers it late, after the caller's timeout"
    mode = Mode.STALL


class Slow(_Link):
    name = "slow"
    summary = "every message is delayed by 20 to 300 ms"

    async def begin(self) -> None:
        for link in self.links():
            link.delay_seconds = self.chance.uniform(0.02, 0.3)


class Cut(_Link):
    name = "cut"
    summary = "the connections to a store are reset, ten times in a row"

    async def begin(self) -> None:
        links = self.links()
        for _ in range(10):
            for link in links:
                link.cut()
            await self.pause(0.05)

    def lasts_seconds(self) -> float:
        return 0.0
