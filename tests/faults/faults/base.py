"""The base of all faults: a fault begins, lasts, and is always healed."""

import asyncio
from random import Random
from typing import ClassVar

from tests.faults.scene import Scene
from tests.faults.stack import Stack


class Fault:
    """One injection. `heal` is safe to call after a `begin` that failed in the middle."""

    name: ClassVar[str]
    summary: ClassVar[str]  # in one line

    def __init__(self, scene: Scene, longest_seconds: float) -> None:
        self.scene = scene
        self.longest_seconds = longest_seconds

    @property
    def stack(self) -> Stack:
        return self.scene.stack

    @property
    def chance(self) -> Random:
        return self.scene.chance

    async def begin(self) -> None:
        """Inject the fault; it is in effect when this returns."""
        raise AssertionError("each fault overrides this")

    async def heal(self) -> None:
        """Remove the fault; the caller waits until the servers have recovered."""
        raise AssertionError("each fault overrides this")

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.uniform(0.3, 3.0))

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, self.longest_seconds))
