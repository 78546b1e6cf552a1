"""The workload: clients and background jobs, a mix drawn from the seed; any request may be retried anywhere."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from app.booking.model import BookingRequest, Payment
from app.errors import DomainError
from app.hold.model import ClassChoice, HoldRequest
from app.hold.redis.scripts import EpochMoved
from app.hold.repairs.ceilings import CeilingReducer
from app.hold.repairs.expirer import Expirer
from app.hold.repairs.inventory_sync import InventorySync
from app.hold.repairs.key_filter import IdempotencyKeyFilter
from app.hold.repairs.resolver import Resolver
from app.hold.repairs.sweeper import Sweeper
from app.idempotency.model import IdempotencyKey
from app.ids import FlightId, booking_id
from app.inventory.itinerary import PassengerCounts
from app.inventory.model import CabinName, Flight
from app.money import Money
from app.outbox import store as outbox
from app.schedule.changes import CabinChange, ClassChange
from app.storage.redis import UNREACHABLE
from tests.builders.bookings import CONTACT, passengers
from tests.builders.flights import flight
from tests.simulation.effects import Gone
from tests.simulation.oracle import HoldOrder, Oracle, Promised
from tests.simulation.violation import Violation
from tests.simulation.world import TENANTS, Node, World

PATIENCE: Final = timedelta(seconds=5)  # the age at which the repair jobs act, as in production
TRANSIENT_ERRORS: Final[tuple[type[Exception], ...]] = (
    DomainError,
    EpochMoved,
    *(one for one in UNREACHABLE if one is not RuntimeError),  # raised by uvloop alone
)
"""Errors of a job while a server is unreachable; the job is tried again."""
JOBS: Final = (
    "expirer",
    "resolver",
    "sweeper",
    "sync",
    "number",
    "guardian",
    "ceilings",
    "key_filter",
)
CLIENTS: Final = ("hold", "book", "release", "extend", "cancel", "patch", "get", "foreign")
_MONEY: Final = (Money(129_900, "CLP"), Money(89_900, "CLP"), Money(49_900, "CLP"))


@dataclass
class Mix:
    """The weights of requests and jobs in one run."""

    clients: dict[str, float]
    jobs: dict[str, float]
    first_process_share: float  # of the requests


def flights_of(world: World) -> list[Flight]:
    """Few flights with few seats, in one to three nested classes."""
    chance = world.chance
    found = []
    for number in range(chance.choice((1, 1, 2, 3))):
        limits = sorted(chance.randint(1, 3) for _ in range(chance.choice((1, 1, 2, 3))))[::-1]
        classes = [("YMK"[i], limit, _MONEY[i]) for i, limit in enumerate(limits)]
        found.append(flight(flight_id=f"flt_{number}", classes=classes))
    return found


def orders_of(world: World, flights: list[Flight]) -> list[HoldOrder]:
    chance = world.chance
    orders = []
    for number in range(chance.randint(4, 9)):
        chosen = chance.sample(flights, chance.choice((1, 1, min(2, len(flights)))))
        segments = tuple(
            ClassChoice(one.flight_id, chance.choice(one.cabins[0].booking_classes).booking_class)
            for one in chosen
        )
        request = HoldRequest(
            None,
            segments,
            PassengerCounts(chance.choice((1, 1, 1, 2))),
            chance.choice((None, f"ref-{number}")),
        )
        tenant = TENANTS[0] if chance.random() < 0.8 else TENANTS[1]
        orders.append(HoldOrder(tenant, IdempotencyKey(f"k{number}", str(number) * 64), request))
    return orders


class Workload:
    def __init__(self, world: World, oracle: Oracle) -> None:
        self.world = world
        self.oracle = oracle
        self.flights = flights_of(world)
        self.orders = orders_of(world, self.flights)
        draw = world.chance.choice
        self.mix = Mix(
            {
                "hold": 30 * draw((1, 2)),
                "book": 16 * draw((1, 1, 2)),
                "release": 6 * draw((0, 1, 2)),
                "extend": 5 * draw((0, 1, 3)),
                "cancel": 6 * draw((0, 1, 3)),
                "patch": 4 * draw((0, 1, 3)),
                "get": 3 * draw((0, 1)),
                "foreign": 2 * draw((0, 0, 1)),
            },
            {
                "expirer": 3 * draw((1, 2)),
                "resolver": 4 * draw((1, 2)),
                "sweeper": 3 * draw((1, 3)),
                "sync": 2 * draw((0, 1)),
                "number": 3 * draw((0, 1)),
                "guardian": 3 * draw((1, 2)),
                "ceilings": 3 * draw((0, 1)),
                "key_filter": 3 * draw((0, 1, 2)),
            },
            draw((0.0, 0.0, 0.6)),
        )

    def sell_one_class(self, seats: int) -> None:
        """Sell one class only, so that every hold takes a seat from another."""
        self.flights = [flight(flight_id="flt_0", classes=[("Y", seats, _MONEY[0])])]
        self.orders = orders_of(self.world, self.flights)

    def start(self) -> str | None:
        """Start one more request or job on some process; return its line for the trace."""
        chance, world = self.world.chance, self.world
        awake = [node for node in world.nodes if not node.is_dead and not node.is_frozen]
        if not awake:
            return None
        node = awake[0] if chance.random() < self.mix.first_process_share else chance.choice(awake)
        alarmed = node.core.epochs.alarm.is_set()
        if chance.random() < (0.5 if alarmed else 0.25):
            weights = dict(self.mix.jobs)
            if alarmed:
                weights["guardian"] *= 10
            name = chance.choices(JOBS, [weights[job] for job in JOBS])[0]
            if name in node.jobs:
                return None
            node.jobs.add(name)
            world.loop.spawn(node, self._job(node, name))
            return f"{node.name} starts {name}"
        weights = dict(self.mix.clients)
        if not self._is_epoch_open():
            weights["book"] *= 4  # while the epoch is loaded, holds are booked without a pin
        name = chance.choices(CLIENTS, [weights[one] for one in CLIENTS])[0]
        return self._ask(node, name)

    def start_hold(self) -> str | None:
        """Request a hold at once, as a client does that waits for seats to come free."""
        awake = [node for node in self.world.nodes if not node.is_dead and not node.is_frozen]
        return self._ask(self.world.chance.choice(awake), "hold") if awake else None

    def _ask(self, node: Node, name: str) -> str | None:
        work = getattr(self, f"_{name}")(node)
        if work is None:
            return None
        label, coroutine = work
        self.world.loop.spawn(node, self._run_request(coroutine))
        return f"{node.name} gets {name} {label}"

    # Jobs.

    def job(self, node: Node, name: str, patience: timedelta) -> Awaitable[Any]:
        core = node.core
        match name:
            case "expirer":
                return core.repairs[Expirer].run_once()
            case "resolver":
                return core.repairs[Resolver].run_once(patience)
            case "sweeper":
                return core.repairs[Sweeper].run_once(patience)
            case "key_filter":
                return core.repairs[IdempotencyKeyFilter].run_once()
            case "sync":
                return core.repairs[InventorySync].run_once()
            case "ceilings":
                return core.repairs[CeilingReducer].run_once()
            case "number":
                return core.database.run_in_transaction(lambda s: outbox.number(s, 100))
            case _:
                return core.guardian.ensure_open()

    async def _job(self, node: Node, name: str) -> None:
        patience = PATIENCE if self.world.chance.random() < 0.5 else timedelta(0)
        try:
            await self.job(node, name, patience)
            if name == "guardian":
                node.core.epochs.alarm.clear()
        except TRANSIENT_ERRORS:
            pass
        except Gone:
            pass
        except Exception as error:
            self.world.loop.faults.append(error)
        finally:
            node.jobs.discard(name)

    # Clients.

    async def _run_request(self, work: Awaitable[object]) -> None:
        try:
            await work
        except Gone:
            return
        except Exception as error:  # a violation, or what a client would see as a 500
            self.world.loop.faults.append(error)

    def _hold(self, node: Node) -> tuple[str, Awaitable[object]]:
        chance = self.world.chance
        new = [order for order in self.orders if order.answer is None]
        order = chance.choice(new if new and chance.random() < 0.6 else self.orders)
        return order.key.key, self.hold(node, order)

    async def hold(self, node: Node, order: HoldOrder) -> DomainError | None:
        asked_at = self.world.step
        try:
            answered = await node.holds.place(order.tenant_id, order.request, order.key)
        except DomainError as error:
            self.world.log(f"{node.name} refuses {order.key.key}: {error.code}")
            self.oracle.hold_refused(order, error, asked_at)
            return error
        self.world.log(f"{node.name} holds {order.key.key} {answered.value.hold_id[-6:]}")
        self.oracle.held(order, answered.value)
        return None

    def _promised(self) -> Promised | None:
        """A hold to act on: mostly a live one; any while no Redis decides what has expired."""
        every = list(self.oracle.promised_holds.values())
        live = [one for one in every if self.oracle.is_live(one)]
        chance = self.world.chance
        if live and chance.random() < 0.8 and self._is_epoch_open():
            return chance.choice(live)
        return chance.choice(every) if every else None

    def _is_epoch_open(self) -> bool:
        """Whether Redis decides; if not, an epoch is being loaded, and holds are booked without a pin."""
        mode: str = self.world.database.tables["redis_epoch"][0,]["mode"]
        return mode == "redis"

    def _book(self, node: Node) -> tuple[str, Awaitable[Any]] | None:
        promised = self._promised()
        if promised is None:
            return None
        key = f"{promised.hold.hold_id[-6:]}-{self.world.chance.choice('aaab')}"
        return key, self.book(node, promised, key)

    async def book(self, node: Node, promised: Promised, key: str) -> DomainError | None:
        hold = promised.hold
        request = BookingRequest(
            hold.hold_id,
            passengers(hold.passengers),
            CONTACT,
            Payment("pay-1", hold.price.total),
        )
        was_answered = key in promised.bookings
        try:
            answered = await node.bookings.confirm(
                promised.order.tenant_id, request, IdempotencyKey(key, key[-1] * 64)
            )
        except DomainError as error:
            self.world.log(f"{node.name} does not book {key}: {error.code}")
            self.oracle.booking_refused(promised, key, error, was_answered=was_answered)
            return error
        self.world.log(f"{node.name} books {key}")
        self.oracle.sold(promised, key, answered.value)
        return None

    def _release(self, node: Node) -> tuple[str, Awaitable[None]] | None:
        promised = self._promised()
        if promised is None:
            return None
        return promised.hold.hold_id[-6:], self._do_release(node, promised)

    async def _do_release(self, node: Node, promised: Promised) -> None:
        promised.is_released = True
        try:
            await node.holds.release(promised.order.tenant_id, promised.hold.hold_id)
        except DomainError as error:
            self.world.log(f"{node.name} does not release: {error.code}")

    def _extend(self, node: Node) -> tuple[str, Awaitable[None]] | None:
        promised = self._promised()
        if promised is None:
            return None
        return promised.hold.hold_id[-6:], self._do_extend(node, promised)

    async def _do_extend(self, node: Node, promised: Promised) -> None:
        promised.may_be_extended = True
        tenant_id, hold_id = promised.order.tenant_id, promised.hold.hold_id
        key = self.world.chance.choice((None, IdempotencyKey(f"x{hold_id}", "e" * 64)))
        try:
            answered = await node.holds.extend(tenant_id, hold_id, key)
        except DomainError as error:
            self.world.log(f"{node.name} does not extend: {error.code}")
            self.oracle.refused(promised, error, "extension")
            return
        self.world.log(f"{node.name} extends {hold_id[-6:]}")
        self.oracle.extended(promised, answered.value)

    def _cancel(self, node: Node) -> tuple[str, Awaitable[None]] | None:
        booked = [one for one in self.oracle.promised_holds.values() if one.bookings]
        if not booked:
            return None
        promised = self.world.chance.choice(booked)
        return promised.hold.hold_id[-6:], self._do_cancel(node, promised)

    async def _do_cancel(self, node: Node, promised: Promised) -> None:
        booked = booking_id(promised.hold.hold_id)
        self.oracle.asked_to_cancel.add(booked)
        key = self.world.chance.choice((None, IdempotencyKey(f"c{booked}", "c" * 64)))
        try:
            await node.bookings.cancel(promised.order.tenant_id, booked, key)
        except DomainError as error:
            self.world.log(f"{node.name} does not cancel: {error.code}")
            if error.code == "not_found":
                raise Violation(f"I5 the acknowledged booking {booked} is not found") from error
            return
        self.world.log(f"{node.name} cancels {booked[-6:]}")
        self.oracle.cancelled.add(booked)

    def _patch(self, node: Node) -> tuple[str, Awaitable[None]]:
        chance = self.world.chance
        one = chance.choice(self.flights)
        letter = chance.choice(one.cabins[0].booking_classes).booking_class
        limit = chance.randint(0, 4)
        return f"{letter} to {limit}", self._do_patch(node, one.flight_id, letter, limit)

    async def _do_patch(self, node: Node, flight_id: FlightId, letter: str, limit: int) -> None:
        change = CabinChange(CabinName.ECONOMY, (ClassChange(letter, limit),))
        try:
            await node.schedule.patch(flight_id, [change])
        except DomainError as error:
            self.world.log(f"{node.name} does not patch: {error.code}")

    def _get(self, node: Node) -> tuple[str, Awaitable[None]] | None:
        promised = self._promised()
        if promised is None:
            return None
        return promised.hold.hold_id[-6:], self._do_get(node, promised)

    async def _do_get(self, node: Node, promised: Promised) -> None:
        try:
            hold = await node.holds.get(promised.order.tenant_id, promised.hold.hold_id)
        except DomainError as error:
            self.oracle.refused(promised, error, "reading")
            return
        self.oracle.seen(promised, hold)

    def _foreign(self, node: Node) -> tuple[str, Awaitable[None]] | None:
        """A request of a tenant for a hold of another."""
        promised = self._promised()
        if promised is None:
            return None
        hold_id = promised.hold.hold_id
        other = TENANTS[0] if promised.order.tenant_id == TENANTS[1] else TENANTS[1]
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "reading": lambda: node.holds.get(other, hold_id),
            "release": lambda: node.holds.release(other, hold_id),
            "extension": lambda: node.holds.extend(other, hold_id, None),
        }
        what = self.world.chance.choice(list(ways))
        return what, self._do_foreign(what, ways[what])

    async def _do_foreign(self, what: str, way: Callable[[], Awaitable[Any]]) -> None:
        error: DomainError | None = None
        try:
            await way()
        except DomainError as refusal:
            error = refusal
        self.oracle.foreign_hold_answered(what, error)
