"""The oracle: records what clients were promised and checks the invariants of the protocol from outside.

A promised hold was acknowledged, its client has not released it, and it has not expired by the clock of any
Redis that was the authority. The oracle asks nothing of the protocol: it reads the committed rows, the
data of the authority, and the answers to clients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from app.booking.model import Booking
from app.errors import DomainError, ErrorKind, IdempotencyInFlight
from app.hold.errors import ExtensionLimitReached, HoldNotActive, SoldOut
from app.hold.model import Hold, HoldRequest, HoldStatus, JournalState, microseconds
from app.hold.redis import keys
from app.hold.redis.keys import Keys
from app.idempotency.model import IdempotencyKey
from app.ids import BookingId, HoldId, TenantId
from tests.simulation.postgres import Row, Transaction
from tests.simulation.redis_server import Server
from tests.simulation.violation import Violation
from tests.simulation.world import World

ENDED: Final = (JournalState.RELEASED, JournalState.EXPIRED, JournalState.ABORTED)
NEVER: Final = 1 << 62


@dataclass(eq=False)
class HoldOrder:
    """One request for a hold; it may be sent several times."""

    tenant_id: TenantId
    key: IdempotencyKey
    request: HoldRequest
    answer: Hold | None = None
    answered_at: int = 0  # the step of the first answer


@dataclass(eq=False)
class Promised:
    order: HoldOrder
    hold: Hold
    expires_at: int
    is_released: bool = False  # from the time at which its client asks for the release
    may_be_extended: bool = False
    bookings: dict[str, Booking] = field(default_factory=dict)  # by key


class Oracle:
    def __init__(self, world: World, *, only_seats: bool = False) -> None:
        """`only_seats`: an assumption is broken without which holds may be lost; bookings must not be."""
        self.world = world
        self.only_seats = only_seats
        self.latest = 0  # the latest clock of any authority
        self.promised_holds: dict[HoldId, Promised] = {}
        self.booked: dict[BookingId, Booking] = {}
        self.asked_to_cancel: set[BookingId] = set()
        self.cancelled: set[BookingId] = set()
        self._tombs: dict[tuple[str, str], int] = {}  # (server, memo key): kept until, by its clock
        self._versions: dict[tuple[str, str], int] = {}
        self._checked: tuple[Any, ...] = ()
        self._checked_at = 0
        self._ratchet = ("0", 0)  # the last reading: text and value
        self._booked: tuple[str, int] | None = None  # the server and its writes at the last check
        world.on_commit = self.commit
        world.on_script = self.script

    # Answers to clients.

    def held(self, order: HoldOrder, hold: Hold) -> None:
        if order.answer is None:
            order.answer, order.answered_at = hold, self.world.step
        elif order.answer != hold:
            raise Violation(f"I4 two answers to {order.key.key}: {order.answer} and then {hold}")
        asked = [(choice.flight_id, choice.booking_class) for choice in order.request.segments]
        if [(s.flight_id, s.booking_class) for s in hold.segments] != asked:
            raise Violation(f"I9 {order.key.key} was answered with other segments")
        if (hold.passengers, hold.client_reference) != (
            order.request.passengers,
            order.request.client_reference,
        ):
            raise Violation(f"I9 {order.key.key} was answered with another request's terms")
        if hold.hold_id not in self.promised_holds:
            promised = Promised(order, hold, microseconds(hold.expires_at))
            self.promised_holds[hold.hold_id] = promised

    def hold_refused(self, order: HoldOrder, error: DomainError, asked_at: int) -> None:
        if self.only_seats:  # restored old data has lost bits of the key filter
            return
        if order.answer is not None and order.answered_at < asked_at and _is_final(error):
            raise Violation(f"I4 {order.key.key} was answered before and is refused now: {error!r}")

    def extended(self, promised: Promised, hold: Hold) -> None:
        if hold.hold_id != promised.hold.hold_id:
            raise Violation("I9 another hold was extended")
        expected = promised.hold.expires_at + self.world.ttl
        if hold.expires_at != expected and not self.only_seats:
            raise Violation(f"I4 extended until {hold.expires_at}, not until {expected}")
        promised.expires_at = max(promised.expires_at, microseconds(hold.expires_at))
        self._checked = ()  # the hold may be live again

    def refused(self, promised: Promised, error: DomainError, what: str) -> None:
        """A final refusal of a promised hold is a violation."""
        if self.only_seats or not self.is_live(promised) or not _is_final(error):
            return
        if isinstance(error, ExtensionLimitReached) and promised.may_be_extended:
            return
        if isinstance(error, HoldNotActive) and (
            "at this moment" in error.detail or self._state(promised) is JournalState.CONFIRMED
        ):
            return
        hold_id = promised.hold.hold_id
        raise Violation(f"I3 {what} of the live hold {hold_id} was refused: {error!r}")

    def seen(self, promised: Promised, hold: Hold) -> None:
        if (
            not self.only_seats
            and self.is_live(promised)
            and hold.status not in (HoldStatus.ACTIVE, HoldStatus.BOOKED)
        ):
            raise Violation(f"I3 the live hold {hold.hold_id} is shown as {hold.status}")

    def sold(self, promised: Promised, key: str, booking: Booking) -> None:
        first = promised.bookings.setdefault(key, booking)
        if first != booking:
            raise Violation(f"I4 two answers to the booking key {key}: {first} and then {booking}")
        if booking.hold_id != promised.hold.hold_id:
            raise Violation(f"I9 {key} was answered with a booking of {booking.hold_id}")
        if len({one.booking_id for one in promised.bookings.values()}) > 1:
            raise Violation(f"I5 two bookings of {booking.hold_id}")
        self.booked[booking.booking_id] = booking

    def booking_refused(
        self, promised: Promised, key: str, error: DomainError, *, was_answered: bool
    ) -> None:
        if was_answered and _is_final(error):
            raise Violation(f"I4 the booking key {key} was answered before: {error!r}")
        if isinstance(error, SoldOut) and not self.only_seats:
            raise Violation(f"I2 the seats of {promised.hold.hold_id} were sold to others")
        self.refused(promised, error, "booking")

    def foreign_hold_answered(self, what: str, error: DomainError | None) -> None:
        if error is None or error.code not in ("not_found", *_UNAVAILABLE):
            raise Violation(f"I9 {what} of another tenant's hold: {error!r}")

    # Effects on the stores.

    def commit(self, transaction: Transaction) -> None:
        """Check a transaction before its commit: it must have proven the present epoch."""
        tables = self.world.database.tables
        epoch = tables["redis_epoch"][0,]
        is_bump = "redis_epoch" in transaction.writes
        for row in transaction.writes.get("redis_epoch", {}).values():
            if row is not None and row["epoch"] < epoch["epoch"]:
                raise Violation(f"I10 the epoch goes back from {epoch['epoch']} to {row['epoch']}")
        proven = transaction.proven
        if proven is not None and not is_bump and not _is_open(epoch, proven):
            raise Violation(f"I10 a transaction of epoch {proven} commits in {_described(epoch)}")
        journal = tables["hold_journal"]
        for key, row in transaction.writes.get("hold_journal", {}).items():
            before = journal.get(key)
            if before is None:
                if row is not None and row["state"] == "HELD" and not _is_open(epoch, row["epoch"]):
                    raise Violation(f"I10 {key[0]} of epoch {row['epoch']} in {_described(epoch)}")
            elif before["state"] != "HELD" and row is not None and row["state"] != before["state"]:
                raise Violation(f"I5 {key[0]} leaves {before['state']} for {row['state']}")

    def script(self, server: Server, _: str, sent: tuple[Any, ...], __: Any) -> None:
        """Check that no script makes an ended hold live again while its tombstone exists."""
        if self.only_seats:
            return
        for key in sent[1 : 1 + sent[0]]:
            memo = server.data.get(key) if ":h:" in key else None
            if isinstance(memo, dict):
                self._watch_tombstone(server, key, memo)
            flight = server.data.get(key) if ":f:" in key else None
            if isinstance(flight, dict):
                self._watch_versions(server, key, flight)

    def _watch_tombstone(self, server: Server, key: str, memo: Any) -> None:
        place = (server.name, key)
        state = memo.get("state")
        if state in ("HELD", "PINNED", "SWAP"):
            if server.latest < self._tombs.pop(place, 0):
                raise Violation(f"I6 {key} had ended and is live again on {server.name}")
        else:
            kept_until = server.expiries.get(key)
            self._tombs[place] = NEVER if kept_until is None else kept_until * 1000

    def _watch_versions(self, server: Server, key: str, flight: Any) -> None:
        """Check that no row in Redis is replaced by an older version."""
        for field_, version in flight.items():
            if field_.endswith(":version"):
                place = (server.name, key + field_)
                if int(version) < self._versions.get(place, 0):
                    raise Violation(f"I11 {key} goes back to version {version} on {server.name}")
                self._versions[place] = int(version)

    # Invariants of every state.

    def is_live(self, promised: Promised) -> bool:
        return not promised.is_released and promised.expires_at > self.latest

    def see_clock(self) -> Server | None:
        authority = self.world.authority()
        if authority is not None:
            text = str(authority.data.get(keys.CLOCK, "0"))
            if text != self._ratchet[0]:
                self._ratchet = (text, int(text))
            self.latest = max(self.latest, authority.now(), self._ratchet[1])
        return authority

    def check(self, authority: Server | None) -> None:
        """Check all invariants. `authority` is the last answer of `see_clock`, before the servers changed.

        If only the time has moved, fewer holds are promised, and only their memos need a check.
        """
        database = self.world.database
        books = None if authority is None else (authority.name, authority.writes)
        state = (
            database.commits,
            books,
            len(self.promised_holds),
            len(self.booked),
            len(self.cancelled),
        )
        is_as_before = state == self._checked
        if is_as_before and self.latest == self._checked_at:
            return
        self._checked, self._checked_at = state, self.latest
        held = self._promised_seats(authority)
        if is_as_before:
            return
        self._check_seats(held)
        self._check_bookings()
        if authority is not None and not self.only_seats and self._booked != books:
            self._booked = books
            check_books(authority, int(database.tables["redis_epoch"][0,]["epoch"]))

    def _promised_seats(self, authority: Server | None) -> dict[tuple[str, str], list[int]]:
        held: dict[tuple[str, str], list[int]] = {}
        if self.only_seats:
            return held
        tables = self.world.database.tables
        names = _keys_of(tables["redis_epoch"][0,]["epoch"])
        for hold_id, promised in self.promised_holds.items():
            if not self.is_live(promised):
                continue
            row = tables["hold_journal"].get((hold_id,))
            if row is None:
                raise Violation(f"I3 the acknowledged hold {hold_id} is not in the journal")
            if row["state"] in ENDED:
                raise Violation(f"I3 the acknowledged live hold {hold_id} was made {row['state']}")
            if row["state"] != "HELD":
                continue
            if authority is not None:
                self._check_memo(authority, names.memo(hold_id), promised)
            for flight_id, cabin, position, seats in row["lines"]:
                of_cabin = held.setdefault((flight_id, cabin), [0] * 8)
                of_cabin[position - 1] += seats
        return held

    def _check_memo(self, authority: Server, key: str, promised: Promised) -> None:
        memo = authority.get(key)
        state = None if memo is None else memo["state"]
        if state not in ("HELD", "PINNED"):
            raise Violation(f"I3 {key}, live and acknowledged, is {state} in {authority.name}")
        if int(memo["expires_at"]) < promised.expires_at:
            raise Violation(f"I6 {key} ends before the time that was answered")

    def _check_seats(self, held: dict[tuple[str, str], list[int]]) -> None:
        for key, row in self.world.database.tables["inventory"].items():
            sold = row["sold"]
            for position, (taken, most) in enumerate(
                zip(_sums_from_position(sold), row["ceilings"], strict=True), start=1
            ):
                if taken > most:
                    raise Violation(f"I1 {key} class {position}: {taken} sold of {most}")
            of_cabin = held.get((key[0], key[1]))
            if of_cabin is None:
                continue
            both = [s + h for s, h in zip(sold, of_cabin, strict=False)]
            for position, (taken, most) in enumerate(
                zip(_sums_from_position(both), row["ceilings"], strict=True), start=1
            ):
                if taken > most:
                    raise Violation(
                        f"I2 {key} class {position}: {sold} sold and {of_cabin[: len(sold)]}"
                        f" promised of {row['ceilings']}"
                    )

    def _check_bookings(self) -> None:
        tables = self.world.database.tables
        sold = {key: [0] * len(row["sold"]) for key, row in tables["inventory"].items()}
        for (booking_id,), row in tables["bookings"].items():
            journal = tables["hold_journal"].get((row["hold_id"],))
            if journal is None or journal["state"] != "CONFIRMED":
                raise Violation(f"I5 {booking_id} has no confirmed hold")
            if row["status"] == "confirmed":
                for flight_id, cabin, position, seats in row["lines"]:
                    sold[flight_id, cabin][position - 1] += seats
            elif booking_id not in self.asked_to_cancel:
                raise Violation(f"I5 {booking_id} is cancelled without a request")
        for key, row in tables["inventory"].items():
            if row["sold"] != sold[key]:
                raise Violation(f"I5 {key}: {row['sold']} counted, {sold[key]} booked")
        for booking_id in self.booked:
            if (booking_id,) not in tables["bookings"]:
                raise Violation(f"I5 the acknowledged booking {booking_id} is not there")
        for booking_id in self.cancelled:
            if tables["bookings"][booking_id,]["status"] != "cancelled":
                raise Violation(f"I5 the cancelled booking {booking_id} is confirmed again")

    def _state(self, promised: Promised) -> JournalState | None:
        row = self.world.database.tables["hold_journal"].get((promised.hold.hold_id,))
        return None if row is None else JournalState(row["state"])


def check_books(server: Server, epoch: int) -> None:
    """Check that Redis's counts equal the seats of its memos."""
    prefix = Keys(epoch).prefix
    at = len(prefix)
    counted: dict[str, list[int]] = {}
    flights: list[tuple[str, dict[str, str]]] = []
    data: dict[str, Any] = server.data
    for key, value in data.items():
        if not key.startswith(prefix):
            continue
        if key[at] == "h":
            if value["state"] in ("HELD", "PINNED"):
                for line in value["lines"].split(";"):
                    flight_id, cabin, position, seats = line.split("|")
                    of_cabin = counted.setdefault(f"{flight_id}|{cabin}", [0] * 8)
                    of_cabin[int(position) - 1] += int(seats)
        elif key[at] == "f" and key[at + 1] == ":":
            flights.append((key[at + 2 :], value))
    for flight_id, flight in flights:
        for name, packed in flight.items():
            if name.endswith(":held"):
                held = [int(number) for number in packed.split(",")]
                wanted = counted.get(f"{flight_id}|{name[:-5]}", [0] * 8)[: len(held)]
                if held != wanted:
                    raise Violation(
                        f"I11 {flight_id} {name}: {held} are counted, {wanted} are held"
                    )


def check_rest(world: World, *, after_all_expired: bool) -> None:
    """Check the stores at rest: Redis agrees with PostgreSQL, and keeps seats for live holds only."""
    authority = world.authority()
    if authority is None:
        raise Violation("I6 at rest no epoch is open")
    tables = world.database.tables
    epoch = int(tables["redis_epoch"][0,]["epoch"])
    check_books(authority, epoch)
    names = Keys(epoch)
    for (flight_id, cabin), row in tables["inventory"].items():
        kept = authority.get(names.flight(flight_id)) or {}
        for field_, value in (("limits", row["limits"]), ("sold", row["sold"])):
            packed = ",".join(map(str, value))
            if kept.get(f"{cabin}:{field_}") != packed:
                raise Violation(
                    f"I11 at rest {flight_id} {cabin}: {field_} {kept.get(f'{cabin}:{field_}')}"
                    f" in Redis, {packed} in Postgres"
                )
    journal = tables["hold_journal"]
    prefix = names.prefix + "h:"
    data: dict[str, Any] = authority.data
    for key, memo in data.items():
        if (
            key.startswith(prefix)
            and isinstance(memo, dict)
            and memo["state"] in ("HELD", "PINNED")
        ):
            its = journal.get((key.removeprefix(prefix),))
            if its is None or (its["state"] != "HELD" and not _is_left_to_expire(world, its, memo)):
                raise Violation(
                    f"I6 at rest Redis keeps seats for {key} ({memo['state']}), which is"
                    f" {its and its['state']} in the journal"
                )
            if after_all_expired:
                raise Violation(f"I6 at rest {key} is {memo['state']} after all holds expired")
    for (hold_id,), row in journal.items():
        if row["state"] == "HELD" and after_all_expired:
            raise Violation(f"I6 at rest {hold_id} is HELD after all holds expired")
    _check_facts(tables)


def check_no_seats_kept(world: World, hold_id: HoldId) -> None:
    """Check that a repeated request for an ended hold keeps no seats."""
    authority = world.authority()
    tables = world.database.tables
    if authority is None or tables["hold_journal"][hold_id,]["state"] == "HELD":
        return
    memo = authority.get(Keys(int(tables["redis_epoch"][0,]["epoch"])).memo(hold_id))
    if memo is not None and memo["state"] in ("HELD", "PINNED"):
        raise Violation(f"I6 at rest {hold_id} was requested again and is held in Redis alone")


def _is_left_to_expire(world: World, row: Row, memo: dict[str, str]) -> bool:
    """Whether the hold ended too long ago for the sweeper: its seats come free when it expires."""
    long_ago = world.database.now() - timedelta(seconds=29)
    return memo["state"] == "HELD" and row["ended_at"] is not None and row["ended_at"] < long_ago


def _check_facts(tables: dict[str, dict[tuple[Any, ...], Row]]) -> None:
    sequences: dict[str, list[int]] = {}
    for row in tables["outbox"].values():
        sequences.setdefault(row["aggregate_id"], []).append(row["sequence"])
    for (booking_id,), row in tables["bookings"].items():
        if sorted(sequences.get(booking_id, [])) != list(range(1, row["version"] + 1)):
            raise Violation(f"I5 {booking_id} at version {row['version']} lacks some of its facts")


_UNAVAILABLE: Final = ("hold_store_unavailable", "database_unavailable", "overloaded")


@lru_cache(maxsize=64)  # more epochs than a run has
def _keys_of(epoch: int) -> Keys:
    return Keys(epoch)


def _is_final(error: DomainError) -> bool:
    return error.kind is not ErrorKind.UNAVAILABLE and not isinstance(error, IdempotencyInFlight)


def _is_open(epoch: Row, number: int) -> bool:
    return bool(epoch["epoch"] == number and epoch["mode"] == "redis")


def _described(epoch: Row) -> str:
    return f"epoch {epoch['epoch']} ({epoch['mode']})"


def _sums_from_position(numbers: Sequence[int]) -> list[int]:
    return list(accumulate(reversed(numbers)))[::-1]
