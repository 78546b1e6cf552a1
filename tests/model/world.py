"""A state of the model: PostgreSQL, every Redis that answers, the parts, and the ghost variables.

Values are tuples, so that a state is its own key in the search. Ghost variables record what an observer
knows (what clients were promised, the latest time they could see); no step of the protocol reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from tests.model.flags import Flags

T = TypeVar("T")

LIVE = ("HELD", "PINNED")
ENDED = ("RELEASED", "EXPIRED", "ABORTED")

Fault = Literal["flush", "empty", "stale", "split", "silent", "back"]
Pc = tuple[Any, ...]  # a part's place: step, epoch, incarnation, and the values the step carries
DONE: Pc = ("-",)


class Stock(NamedTuple):
    """A flight's inventory row in PostgreSQL."""

    limit: int
    ceiling: int
    sold: int
    version: int


class Row(NamedTuple):
    """A row of the journal."""

    state: str
    epoch: int
    granted: int
    expires: int
    token: int
    first: int  # the time of the first answer


class Seats(NamedTuple):
    """A flight's counts in Redis."""

    limit: int
    sold: int
    version: int


class Memo(NamedTuple):
    """A hold's memo in Redis."""

    state: str
    expires: int
    token: int
    granted: int
    extended: int


class Keys(NamedTuple):
    """The Redis keys of one epoch."""

    seats: tuple[Seats, ...]
    memos: tuple[Memo | None, ...]
    ended: frozenset[int]  # reclaimed holds, until the journal has their end too
    marks: frozenset[int]  # the key filter: idempotency keys that may have an answer
    whole: bool  # the filter is complete: it has every answered key


class Redis(NamedTuple):
    """One incarnation of Redis."""

    incarnation: int
    offset: int  # of its clock against true time
    epoch: int | None
    loading: int
    clock: int  # no script's time runs behind it
    keys: tuple[tuple[int, Keys], ...]


class Budget(NamedTuple):
    """How often each fault may happen."""

    rollbacks: int = 0
    unknowns: int = 0
    losses: int = 0
    catch_ups: int = 0  # of a replica with its primary
    forgettings: int = 0  # of a tombstone, by age
    drops: int = 0  # of a journal row, by age


@dataclass(frozen=True, slots=True)
class Part:
    """A process at one task; its kind decides which fields it uses."""

    kind: str
    name: str = ""
    hold: int = 0
    key: int = 0
    is_retry: bool = False
    several: tuple[int, ...] = ()  # keys or holds of a batch
    flight: int = 0
    limit: int = 0
    at: int = 0  # index of the Redis server that a rebuilder connects to
    unasked: bool = False  # ends the epoch although nothing is broken


@dataclass(frozen=True, slots=True)
class Configuration:
    """A world to explore: flights, holds, keys, the parts that act, and the faults that may happen."""

    about: str
    limits: tuple[int, ...]
    holds: tuple[tuple[str, tuple[int, ...]], ...]  # name and flights
    keys: tuple[tuple[int, ...], ...]  # of each key the holds of its attempts
    parts: tuple[Part, ...]
    ttl: int = 2
    until: int = 2  # the last value of the clock
    faults: tuple[Fault, ...] = ()
    budget: Budget = field(default_factory=Budget)
    redis_offset: int = 0  # the clock offset of a Redis that starts after a loss
    postgres_offset: int = 0
    before: tuple[tuple[Literal["hold", "book"], int], ...] = ()
    constraint_only: bool = False  # beyond the assumptions: only the constraint must hold

    def lines(self, hold: int) -> tuple[int, ...]:
        return self.holds[hold][1]

    def name(self, hold: int) -> str:
        return self.holds[hold][0]

    def key_of(self, hold: int) -> int:
        return next((k for k, holds in enumerate(self.keys) if hold in holds), -1)


@dataclass(slots=True)
class Setting:
    """One exploration: configuration, switches, and the cached verdicts."""

    configuration: Configuration
    flags: Flags = field(default_factory=Flags)
    strict: bool = True
    """A hold is promised until the Redis that decides has reached its end; if False, until true time has."""
    judged: dict[Any, str | None] = field(default_factory=dict)


class World:
    """Mutable while a step is made; `pack` returns the state."""

    __slots__ = (
        "actors",
        "answers",
        "bookings",
        "budget",
        "cut",
        "epoch",
        "followed",
        "incarnation",
        "inflight",
        "journal",
        "mode",
        "promised",
        "redises",
        "released",
        "released_in",
        "replica",
        "seen",
        "setting",
        "stock",
        "time",
        "violation",
    )

    setting: Setting
    epoch: int  # redis_epoch
    mode: str
    incarnation: int
    cut: int
    stock: tuple[Stock, ...]
    journal: tuple[Row | None, ...]
    bookings: tuple[int, ...]  # 1 confirmed, 2 cancelled
    redises: tuple[Redis, ...]  # the first is current; old ones still answer some processes
    replica: Redis
    time: int
    actors: tuple[Pc, ...]
    budget: Budget
    inflight: tuple[tuple[int, int, int], ...]  # commits under way: hold, epoch, fencing token
    followed: tuple[tuple[int, ...], int]  # the sync: versions it has applied, and the epoch
    seen: int  # ghost variables from here on: the latest time a client could see
    promised: tuple[int | None, ...]  # of each hold until when
    released: tuple[bool, ...]
    released_in: tuple[int, ...]  # the epoch in which the release reached Redis
    answers: tuple[tuple[int, int] | None, ...]  # of each key: hold and time of the first answer
    violation: str | None

    def pack(self) -> tuple[Any, ...]:
        return (
            self.epoch, self.mode, self.incarnation, self.cut, self.stock, self.journal,
            self.bookings, self.redises, self.replica, self.time, self.actors, self.budget,
            self.inflight, self.followed, self.seen, self.promised, self.released,
            self.released_in, self.answers, self.violation,
        )  # fmt: skip

    def copy(self) -> "World":
        return unpack(self.setting, self.pack())

    @property
    def flags(self) -> Flags:
        return self.setting.flags

    @property
    def configuration(self) -> Configuration:
        return self.setting.configuration

    def lines(self, hold: int) -> tuple[int, ...]:
        return self.setting.configuration.holds[hold][1]

    def name(self, hold: int) -> str:
        return self.setting.configuration.holds[hold][0]

    def rows(self, hold: int) -> "Rows":
        """The present inventory rows of a hold's flights."""
        return tuple((flight, self.stock[flight]) for flight in self.lines(hold))

    def accuse(self, violation: str) -> None:
        self.violation = self.violation or violation


Rows = tuple[tuple[int, Stock], ...]


def unpack(setting: Setting, state: tuple[Any, ...]) -> World:
    world = World()
    world.setting = setting
    (
        world.epoch, world.mode, world.incarnation, world.cut, world.stock, world.journal,
        world.bookings, world.redises, world.replica, world.time, world.actors, world.budget,
        world.inflight, world.followed, world.seen, world.promised, world.released,
        world.released_in, world.answers, world.violation,
    ) = state  # fmt: skip
    return world


def put(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])


def spend(world: World, what: str) -> None:
    world.budget = world.budget._replace(**{what: getattr(world.budget, what) - 1})


def no_keys(flights: int, holds: int) -> Keys:
    nothing = (Seats(0, 0, -1),) * flights
    return Keys(nothing, (None,) * holds, frozenset(), frozenset(), whole=False)


def names_of(setting: Setting, holds: Sequence[int]) -> list[str]:
    return [setting.configuration.name(hold) for hold in holds]
