"""The world of one run: processes, servers, time, and the faults of each."""

import zlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, Final

from app.booking.service import BookingService
from app.hold.redis import keys, scripts
from app.hold.service import HoldService
from app.ids import TenantId
from app.inventory.model import Flight
from app.schedule.service import ScheduleService
from app.wiring import Core, core_on
from tests.builders.holds import no_offers
from tests.simulation import statements_hold, statements_sale
from tests.simulation.effects import Effects
from tests.simulation.loop import Loop, Process
from tests.simulation.postgres import Postgres, Transaction
from tests.simulation.redis_client import SimulatedHoldServer
from tests.simulation.redis_server import Server, Value, copy_of, ship

START: Final = datetime(2027, 1, 1, tzinfo=UTC)
_START_US: Final = int(START.timestamp()) * 1_000_000
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOCATORS: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
TENANTS: Final = (TenantId("demo"), TenantId("rival"))
_HANDLERS: Final = (statements_hold, statements_sale)  # imported because they register handlers


class Node(Process):
    """One process of the application, with everything it has in memory."""

    core: Core
    holds: HoldService
    bookings: BookingService
    schedule: ScheduleService

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number
        self.offset = timedelta()
        self.jobs: set[str] = set()  # under way


class World:
    """Everything outside the protocol, and the clock."""

    def __init__(self, seed: int, *, with_trace: bool = False) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.loop = Loop(Random(self.chance.random()))
        self.effects = Effects(self.loop)
        self.failures: list[BaseException] = []  # of the servers themselves
        self.database = Postgres(self.effects, self.wall, self._committed, self.failures)
        self.on_commit: Callable[[Transaction], None] = lambda _: None
        self.on_script: Callable[[Server, str, tuple[Any, ...], Any], None] | None = None
        self.servers: list[Server] = []
        self.primary = self._new_server()
        self.routes: dict[int, Server] = {}  # of the processes that do not reach the primary
        self.replica: tuple[dict[str, Value], dict[str, int]] = ({}, {})
        self.nodes: list[Node] = []
        self.lives = 0
        self._looked_at = (-1, 0)
        self._epoch = ""
        self._named: Server | None = None
        self.step = 0
        self.faults: Counter[str] = Counter()
        self.trace: list[str] | None = [] if with_trace else None
        self.hash = 0
        self.ttl = timedelta(seconds=self.chance.choice((1, 2, 5, 30)))
        self.batch_max = self.chance.choice((1, 64))
        _ship()

    def wall(self) -> int:
        """True time in microseconds."""
        return _START_US + self.loop.now

    def move(self, microseconds: int) -> None:
        self.loop.move_to(self.loop.now + microseconds)
        self.database.tick()

    def log(self, text: str) -> None:
        self.hash = zlib.crc32(text.encode(), self.hash)
        if self.trace is not None:
            self.trace.append(f"{self.step:4} {self.loop.now / 1e6:10.6f}  {text}")

    def start_node(self, number: int) -> Node:
        """Start a new process in place of the old one."""
        self.lives += 1
        node = Node(f"P{number}.{self.lives}", number)

        def clock() -> datetime:
            return START + timedelta(microseconds=self.loop.now) + node.offset

        core = core_on(
            self.database.database(),
            SimulatedHoldServer(self.effects, node, self._route, self._ran),
            hold_ttl=self.ttl,
            clock=clock,
            who=node.name,
            batch_max=self.batch_max,
        )
        node.core = core
        node.holds = core.holds(no_offers)
        node.bookings = BookingService(
            core.database,
            core.pins,
            core.availability,
            core.background,
            clock,
            self._draw_locator,
            batch_max=self.batch_max,
        )
        node.schedule = ScheduleService(core.database, core.availability, clock)
        self.nodes[number : number + 1] = [node]
        return node

    # Faults.

    def crash(self, node: Node) -> None:
        """kill -9: no clean-up runs; what the process had sent may still take effect."""
        node.is_dead = True
        self.effects.abandon(node, lambda: self.chance.random() < 0.5)
        for transaction in list(self.database.open):
            is_its = transaction.process is node and not transaction.is_busy
            if is_its and self.chance.random() < 0.5:  # otherwise the server notices its end later
                transaction.end(commit=False)

    def restart_redis(self, data: dict[str, Value], expiries: dict[str, int]) -> Server:
        """Another incarnation at the same address; every connection ends."""
        old = self.primary
        old.is_alive = False
        server = self.primary = self._new_server()
        server.offset = self._another_clock(old)
        server.take_data_of(data, expiries)
        if self.chance.random() < 0.3:
            server.scripts = set()
        return server

    def promote_replica(self) -> Server:
        """The replica becomes primary with its data; the old primary still serves some processes."""
        old = self.primary
        server = self.primary = self._new_server()
        server.offset = self._another_clock(old)
        server.take_data_of(*self.replica)
        for node in self.nodes:
            if self.chance.random() < 0.5:
                self.routes[node.number] = old
            elif self.chance.random() < 0.5:  # otherwise its connections to the old one stay open
                node.is_cut_off_from = old
        return server

    def _another_clock(self, old: Server) -> int:
        """The clock of another machine, within five minutes of true time."""
        ways = (old.offset, old.offset, 0, old.offset + 5_000_000, -300_000_000)
        return max(-300_000_000, min(300_000_000, self.chance.choice(ways)))

    def replicate(self) -> None:
        self.replica = (copy_of(self.primary.data), dict(self.primary.expiries))

    def heal(self) -> None:
        """Every process runs and reaches the same servers, and all clocks agree."""
        for server in self.servers:
            server.is_alive = server is self.primary
            server.offset = 0
        self.routes.clear()
        self.database.is_up = True
        self.database.offset = 0
        for number, node in enumerate(list(self.nodes)):
            node.offset = timedelta()
            if node.is_dead:
                self.start_node(number)
            elif node.is_frozen:
                self.loop.wake(node)

    def authority(self) -> Server | None:
        """The server that decides: the one with the open epoch and the incarnation of its row."""
        known = (self.database.commits, len(self.servers))
        if known != self._looked_at:  # only a commit changes which server it is
            self._looked_at = known
            row = self.database.tables["redis_epoch"][0,]
            self._epoch = str(row["epoch"])
            its = [one for one in self.servers if one.incarnation == row["incarnation"]]
            self._named = its[0] if its and row["mode"] == "redis" else None
        server = self._named
        if server is None or not server.is_alive or server.data.get(keys.EPOCH) != self._epoch:
            return None
        return server

    def _route(self, process: Process) -> Server:
        assert isinstance(process, Node)
        return self.routes.get(process.number, self.primary)

    def _new_server(self) -> Server:
        server = Server(f"R{len(self.servers) + 1}", self.wall, self.chance, self.failures)
        self.servers.append(server)
        return server

    def _ran(self, server: Server, digest: str, sent: tuple[Any, ...], reply: Any) -> None:
        if self.on_script is not None:
            self.on_script(server, digest, sent, reply)

    def _committed(self, transaction: Transaction) -> None:
        self.on_commit(transaction)

    def _draw_locator(self) -> str:
        return "".join(self.chance.choice(LOCATORS) for _ in range(6))


@cache  # once: the scripts are constant
def _ship() -> None:
    """Load every script, and the bundle of all of them, as a server in use has them."""
    shipped, bundle = scripts._shipped()
    ship([*(script.source for script in shipped.values()), bundle.source])


def insert_rows(database: Postgres, flights: list[Flight]) -> None:
    """Insert the rows that the migrations and an import of flights leave."""
    tables = database.tables
    tables["redis_epoch"][0,] = {
        "shard": 0,
        "epoch": 0,
        "incarnation": None,
        "mode": "rebuilding",
        "cut": _LONG_AGO,
        "bumped_at": _LONG_AGO,
    }
    tables["epoch_gate"][0,] = {
        "shard": 0,
        "closing_until": _LONG_AGO,
        "rebuilder": None,
        "rebuilder_until": None,
        "away_since": None,
    }
    tables["outbox_head"][0,] = {"shard": 0, "last_position": 0}
    for flight in flights:
        _put(tables, flight)


def _put(tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]], flight: Flight) -> None:
    departing, arriving = flight.departing_at, flight.arriving_at
    tables["flights"][flight.flight_id,] = {
        "flight_id": flight.flight_id,
        "carrier": flight.carrier,
        "flight_number": flight.flight_number,
        "origin": flight.origin,
        "destination": flight.destination,
        "departure_date": departing.local.date(),
        "departing_local": departing.local,
        "departing_time_zone": departing.time_zone,
        "departing_utc": departing.utc,
        "arriving_local": arriving.local,
        "arriving_time_zone": arriving.time_zone,
        "arriving_utc": arriving.utc,
        "version": 1,
        "event_sequence": 0,
    }
    for rank, cabin in enumerate(flight.cabins):
        limits = [one.limit for one in cabin.booking_classes]
        tables["inventory"][flight.flight_id, cabin.cabin.value] = {
            "flight_id": flight.flight_id,
            "cabin": cabin.cabin.value,
            "rank": rank,
            "capacity": cabin.capacity,
            "booking_classes": [one.booking_class for one in cabin.booking_classes],
            "fares": [one.fare.minor for one in cabin.booking_classes],
            "currency": cabin.booking_classes[0].fare.currency,
            "limits": limits,
            "ceilings": list(limits),
            "sold": [0] * len(limits),
            "sold_total": 0,
            "ceiling_total": limits[0],
            "version": 1,
        }
