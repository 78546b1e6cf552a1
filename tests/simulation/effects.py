"""What crosses a process's border: each is one decision of the scheduler, when and how it ends.

An effect either happens and is answered, or the caller hears that the connection was lost: then it
never happened, or it did, or it lands later (a zombie: whoever asked may be gone by then).
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
    UNANSWERED = "unanswered"  # it took effect, and nobody heard of it
    LATE = "late"  # given up by the caller, and still under way


class Blocked(Exception):
    """It waits for a lock; it is tried again when one was let go."""


class Gone(Exception):
    """The process that asks is no more."""


@dataclass(eq=False, slots=True)
class Effect:
    label: str
    perform: Callable[[], Any]
    lost: Callable[[], Exception]  # what the caller hears where nothing is heard
    process: Process | None
    future: "asyncio.Future[Any]"
    give_up: Callable[[Outcome], None] | None = None  # what else a loss means, at the other end
    patience: Callable[[], int] = lambda: 0  # microseconds that it waits for a lock
    blocked_until: int | None = None
    is_blocked: bool = False
    stalled_until: int = 0  # the step before which it is passed over


class Effects:
    """All that is under way, and all that was given up by whoever asked and may still land."""

    def __init__(self, loop: Loop) -> None:
        self.pending: list[Effect] = []
        self.zombies: list[Effect] = []
        self.is_over = False
        self.hold_back: Callable[[str], int] = lambda _: 0  # the step until which it is passed over
        self._loop = loop

    def do(
        self,
        label: str,
        perform: Callable[[], Any],
        lost: Callable[[], Exception],
        give_up: Callable[[Outcome], None] | None = None,
        patience: Callable[[], int] = lambda: 0,
    ) -> Awaitable[Any]:
        """It ends when the scheduler says so."""
        process = OWNER.get()
        if self.is_over or (process is not None and process.is_dead):
            raise Gone
        future = self._loop.create_future()
        effect = Effect(label, perform, lost, process, future, give_up, patience)
        effect.stalled_until = self.hold_back(label)
        self.pending.append(effect)
        return future

    def now(self) -> int:
        return self._loop.now

    def runnable(self, step: int) -> list[Effect]:
        return [one for one in self.pending if not one.is_blocked and one.stalled_until <= step]

    def resume(self) -> None:
        """Nobody is passed over any longer: where only such are left, no step would ever come."""
        for one in self.pending:
            one.stalled_until = 0

    def settle(self, effect: Effect, outcome: Outcome) -> str:
        """Lets it end so; says in a word what became of it."""
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
        """What was given up takes effect now; nobody hears of it."""
        try:
            zombie.perform()
        except Blocked:
            if zombie.blocked_until is None:
                zombie.blocked_until = self._loop.now + zombie.patience()
            return "blocked"
        except Violation:
            raise
        except Exception as error:
            self.zombies.remove(zombie)
            return type(error).__name__
        self.zombies.remove(zombie)
        return "landed"

    def drop(self, zombie: Effect) -> None:
        """It never lands."""
        self.zombies.remove(zombie)
        if zombie.give_up is not None:
            zombie.give_up(Outcome.LOST)

    def fail(self, effect: Effect, error: Exception) -> None:
        self.pending.remove(effect)
        self._answer(effect, error)

    def unblock(self) -> None:
        for effect in self.pending:
            effect.is_blocked = False

    def forget_process(self, process: Process, may_land: Callable[[], bool]) -> None:
        """What it sent may still land; what it was to hear is heard by nobody."""
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
                effect.blocked_until = self._loop.now + effect.patience()
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
