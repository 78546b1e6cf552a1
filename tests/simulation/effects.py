"""Effects: everything a process asks of a server. The scheduler decides when and how each ends.

An effect happens and is answered, or its caller gets a connection error: then it never happened, or it
did, or it happens later (a zombie, whose caller may have died by then).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.simulation.loop import OWNER, Loop, Process
from tests.simulation.violation import Violation


class Outcome(Enum):
    DONE = "done"
    LOST = "lost"  # before it took effect
    UNANSWERED = "unanswered"  # it took effect, but its answer was lost
    LATE = "late"  # the caller gave up, and it is still under way


class Blocked(Exception):
    """The effect waits for a lock; it is tried again when a lock is released."""


class Gone(Exception):
    """The calling process is dead."""


@dataclass(eq=False, slots=True)
class Effect:
    label: str
    perform: Callable[[], Any]
    lost: Callable[[], Exception]  # makes the caller's error if there is no answer
    process: Process | None
    future: "asyncio.Future[Any]"
    give_up: Callable[[Outcome], None] | None = None  # what a loss changes on the server
    lock_timeout: Callable[[], int] = lambda: 0  # microseconds that it waits for a lock
    blocked_until: int | None = None
    is_blocked: bool = False
    stalled_until: int = 0  # the first step at which it may be chosen


class Effects:
    """All effects under way, and the zombies, whose callers gave up and which may still happen."""

    def __init__(self, loop: Loop) -> None:
        self.pending: list[Effect] = []
        self.zombies: list[Effect] = []
        self.is_over = False
        self.stall: Callable[[str], int] = lambda _: 0  # the first step at which it may be chosen
        self._loop = loop

    def do(
        self,
        label: str,
        perform: Callable[[], Any],
        lost: Callable[[], Exception],
        give_up: Callable[[Outcome], None] | None = None,
        lock_timeout: Callable[[], int] = lambda: 0,
    ) -> Awaitable[Any]:
        """Start an effect; it ends when the scheduler chooses it."""
        process = OWNER.get()
        if self.is_over or (process is not None and process.is_dead):
            raise Gone
        future = self._loop.create_future()
        effect = Effect(label, perform, lost, process, future, give_up, lock_timeout)
        effect.stalled_until = self.stall(label)
        self.pending.append(effect)
        return future

    def now(self) -> int:
        return self._loop.now

    def runnable(self, step: int) -> list[Effect]:
        return [one for one in self.pending if not one.is_blocked and one.stalled_until <= step]

    def resume(self) -> None:
        """End every stall: if all effects were stalled, no step could follow."""
        for one in self.pending:
            one.stalled_until = 0

    def settle(self, effect: Effect, outcome: Outcome) -> str:
        """End the effect with this outcome; return one word for the trace."""
        if outcome in (Outcome.DONE, Outcome.UNANSWERED):
            return self._perform(effect, answered=outcome is Outcome.DONE)
        self.pending.remove(effect)
        if effect.give_up is not None:
            effect.give_up(outcome)
        if outcome is Outcome.LATE:
            self.zombies.append(effect)
        self._answer(effect, effect.lost())
        return str(outcome.value)

    def land(self, zombie: Effect) -> str:
        """The zombie takes effect now, without an answer."""
        try:
            zombie.perform()
        except Blocked:
            if zombie.blocked_until is None:
                zombie.blocked_until = self._loop.now + zombie.lock_timeout()
            return "blocked"
        except Violation:
            raise
        except Exception as error:
            self.zombies.remove(zombie)
            return type(error).__name__
        self.zombies.remove(zombie)
        return "landed"

    def drop(self, zombie: Effect) -> None:
        """The zombie never takes effect."""
        self.zombies.remove(zombie)
        if zombie.give_up is not None:
            zombie.give_up(Outcome.LOST)

    def fail(self, effect: Effect, error: Exception) -> None:
        self.pending.remove(effect)
        self._answer(effect, error)

    def unblock(self) -> None:
        for effect in self.pending:
            effect.is_blocked = False

    def abandon(self, process: Process, may_land: Callable[[], bool]) -> None:
        """After the death of a process: what it sent may still take effect, without an answer."""
        for effect in [one for one in self.pending if one.process is process]:
            self.pending.remove(effect)
            if may_land():
                if effect.give_up is not None:
                    effect.give_up(Outcome.LATE)
                self.zombies.append(effect)
            elif effect.give_up is not None:
                effect.give_up(Outcome.LOST)

    def _perform(self, effect: Effect, *, answered: bool) -> str:
        try:
            answer = effect.perform()
        except Blocked:
            effect.is_blocked = True
            if effect.blocked_until is None:
                effect.blocked_until = self._loop.now + effect.lock_timeout()
            return "blocked"
        except Violation:
            raise
        except Exception as error:
            self.pending.remove(effect)
            self._answer(effect, error)
            return type(error).__name__
        self.pending.remove(effect)
        if answered:
            if not effect.future.done():
                effect.future.set_result(answer)
            return "done"
        if effect.give_up is not None:
            effect.give_up(Outcome.UNANSWERED)
        self._answer(effect, effect.lost())
        return "unanswered"

    def _answer(self, effect: Effect, error: Exception) -> None:
        if not effect.future.done():
            effect.future.set_exception(error)
