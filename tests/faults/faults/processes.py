"""Processes of the application are killed, frozen past every lease, or get wrong clocks."""

import asyncio

from tests.faults.faults.base import Fault
from tests.faults.scene import Scene

_WRONG_SECONDS = (-300.0, 300.0)


class ApiKilled(Fault):
    name = "api-kill"
    summary = "an API process is killed (-9) and started again"

    def __init__(self, scene: Scene, longest_seconds: float) -> None:
        super().__init__(scene, longest_seconds)
        self._api = self.chance.choice(self.stack.apis)

    async def begin(self) -> None:
        await self._api.kill()

    async def heal(self) -> None:
        if not self._api.running:
            await self._api.start()

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.uniform(0.0, 1.0))


class ApiFrozen(ApiKilled):
    name = "api-freeze"
    summary = (
        "an API process is stopped (SIGSTOP) for longer than any hold, pin or lease, and resumes"
    )

    async def begin(self) -> None:
        self._api.freeze()

    async def heal(self) -> None:
        self._api.thaw()

    def lasts_seconds(self) -> float:
        past_holds = self.stack.ttl_seconds + self.chance.uniform(0.5, 3.0)
        past_all = 17.0  # a rebuilder's lease lasts 15 s
        return min(
            self.longest_seconds, self.chance.choice((0.7, past_holds, past_holds, past_all))
        )


class RelayKilled(Fault):
    name = "relay-kill"
    summary = "the relays are killed (-9), one after the other, and started again"

    async def begin(self) -> None:
        for relay in self.stack.relays:
            await relay.kill()
            await self.pause(self.chance.uniform(0.0, 0.5))

    async def heal(self) -> None:
        await asyncio.gather(*(relay.start() for relay in self.stack.relays if not relay.running))


class RelayFrozen(Fault):
    name = "relay-freeze"
    summary = "a relay is stopped (SIGSTOP) past its lease while the other takes over, and resumes"

    async def begin(self) -> None:
        self.chance.choice(self.stack.relays).freeze()

    async def heal(self) -> None:
        for relay in self.stack.relays:
            relay.thaw()

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.uniform(1.0, 7.0))


class ClocksMoved(Fault):
    name = "clocks"
    summary = "the clocks of some processes are 300 s ahead or behind (not those of the stores)"

    async def begin(self) -> None:
        for process in (*self.stack.apis, *self.stack.relays):
            process.move_clock(self.chance.choice((0.0, *_WRONG_SECONDS)))

    async def heal(self) -> None:
        for process in (*self.stack.apis, *self.stack.relays):
            process.move_clock(0.0)


class AllKilled(Fault):
    name = "all-killed"
    summary = "PostgreSQL, Redis and every API process are killed (-9) at once and started again"

    async def begin(self) -> None:
        await asyncio.gather(
            self.stack.kill_postgres(),
            self.stack.redis.kill(),
            *(api.kill() for api in self.stack.apis),
        )

    async def heal(self) -> None:
        await self.stack.start_postgres()
        if not self.stack.redis.is_running:
            await self.stack.redis.start()
        await asyncio.gather(*(api.start() for api in self.stack.apis if not api.running))
