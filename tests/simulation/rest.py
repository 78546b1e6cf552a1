"""The end of a run: faults stop, everything is healed, the background jobs run, then the state is checked.

Every live acknowledged hold can be booked, every idempotency key gets the same answer as before, Redis
agrees with PostgreSQL, and after all holds have expired no seats are held.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from app.errors import DomainError, HoldStoreUnavailable
from tests.simulation.oracle import Oracle, Promised, check_no_seats_kept, check_rest
from tests.simulation.violation import Violation
from tests.simulation.workload import TRANSIENT_ERRORS, Workload
from tests.simulation.world import Node, World

Settle = Callable[[Callable[[], bool]], None]
TRIES_MAX: Final = 40
ANSWERS_MAX: Final = 2


def check_at_rest(world: World, oracle: Oracle, workload: Workload, settle: Settle) -> None:
    world.log("all faults are healed")
    world.heal()
    for zombie in list(world.effects.zombies):
        if world.chance.random() < 0.5:
            world.log(f"late: {zombie.label} {world.effects.land(zombie)}")
    while world.effects.zombies:
        world.effects.drop(world.effects.zombies[0])
    settle(lambda: False)
    if oracle.only_seats:
        return
    rest = _Rest(world, oracle, workload, settle)
    rest.open()
    rest.repair()
    check_rest(world, after_all_expired=False)
    rest.repeat_requests()
    rest.book()
    rest.repair()
    world.move(_until_all_expired(world))
    oracle.see_clock()
    rest.repair()
    rest.repair()  # again: an expirer whose set of due flights changed visits them in the next round
    check_rest(world, after_all_expired=True)


class _Rest:
    def __init__(self, world: World, oracle: Oracle, workload: Workload, settle: Settle) -> None:
        self.world, self.oracle, self.workload, self.settle = world, oracle, workload, settle

    def open(self) -> None:
        """Wait until an epoch is open and the clock of its Redis is past every time it has ever shown."""
        node = self.world.nodes[0]
        for _ in range(TRIES_MAX):
            if self._done(node, node.core.guardian.ensure_open()) is None:
                break
            self.world.move(10_000_000)  # a lease that was taken by a fast clock lasts longer
        else:
            raise Violation("I6 at rest no epoch can be opened")
        self.world.move(max(0, self.oracle.latest - self.world.primary.now()) + 1)
        gate = self.world.database.tables["epoch_gate"][0,]["closing_until"]
        wait = gate - self.world.database.now()  # a fast clock may have closed it for long
        self.world.move(max(0, wait // timedelta(microseconds=1)) + 1)
        for other in self.world.nodes[
            1:
        ]:  # each process probes for itself, as it does every second
            self._done(other, other.core.guardian.ensure_open())

    def repair(self) -> None:
        node = self.world.nodes[0]
        for job in ("expirer", "resolver", "sweeper", "number", "sync", "expirer"):
            error = self._done(node, self.workload.job(node, job, timedelta(0)))
            if error is not None:
                raise Violation(f"at rest {job} fails: {error!r}")

    def repeat_requests(self) -> None:
        answered = [order for order in self.workload.orders if order.answer is not None]
        for order in self.world.chance.sample(answered, min(ANSWERS_MAX, len(answered))):
            node = self.world.chance.choice(self.world.nodes)
            error = self._value(node, self.workload.hold(node, order))
            if error is not None:
                raise Violation(f"I4 at rest {order.key.key} has no answer: {error!r}")
            assert order.answer is not None, "only answered requests are repeated"
            check_no_seats_kept(self.world, order.answer.hold_id)

    def book(self) -> None:
        """Book most of the live holds; the others expire."""
        for hold_id, promised in list(self.oracle.promised_holds.items()):
            row = self.world.database.tables["hold_journal"][hold_id,]
            if not self.oracle.is_live(promised) or row["state"] != "HELD":
                continue
            if self.world.chance.random() < 0.75:
                node = self.world.chance.choice(self.world.nodes)
                self._book(node, hold_id, promised)

    def _book(self, node: Node, hold_id: str, promised: Promised) -> None:
        error: DomainError | None = None
        for _ in range(3):
            error = self._value(node, self.workload.book(node, promised, f"{hold_id[-6:]}-r"))
            if error is None or not self.oracle.is_live(promised):
                return
            if not isinstance(error, HoldStoreUnavailable):
                break
        raise Violation(f"I3 at rest the live hold {hold_id} cannot be booked: {error!r}")

    def _done(self, node: Node, work: Any) -> Exception | None:
        """Run the work undisturbed; return the error if it was refused."""

        async def whole() -> Exception | None:
            try:
                await work
            except TRANSIENT_ERRORS as error:
                return error
            return None

        refused: Exception | None = self._value(node, whole())
        return refused

    def _value(self, node: Node, work: Any) -> Any:
        task = self.world.loop.spawn(node, work)
        self.settle(task.done)
        self.settle(lambda: False)  # also runs the tasks that the work left behind
        return task.result()


def _until_all_expired(world: World) -> int:
    """Microseconds until every hold has expired; an extension without a journal row lasts longer in Redis."""
    ends = [
        int(row["expires_at"].timestamp() * 1_000_000)
        for row in world.database.tables["hold_journal"].values()
    ]
    ends += [
        int(value["expires_at"])
        for key, value in world.primary.data.items()
        if ":h:" in key and isinstance(value, dict) and "expires_at" in value
    ]
    return max(0, max(ends, default=0) - world.wall()) + 1_000_000
