"""The final data of PostgreSQL, Redis and the bus after a run, as plain values.

Taken at rest: PostgreSQL in one snapshot, Redis right after it. Times are whole microseconds since 1970, as in
the scripts, so that nothing is rounded. Key names come from app/hold/redis/keys.py.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
from redis.asyncio import Redis

from app.hold.model import microseconds
from app.hold.redis import keys
from app.hold.redis.keys import Keys
from app.ids import FlightId, HoldId

READ_AT_ONCE: Final = 1000


class Line(NamedTuple):
    """Seats of one class; `position` counts from 1 in nesting order."""

    flight_id: str
    cabin: str
    position: int
    seats: int


@dataclass(frozen=True, slots=True)
class InventoryRow:
    flight_id: str
    cabin: str
    booking_classes: tuple[str, ...]
    limits: tuple[int, ...]
    ceilings: tuple[int, ...]
    sold: tuple[int, ...]
    sold_total: int
    ceiling_total: int
    version: int


@dataclass(frozen=True, slots=True)
class JournalRow:
    hold_id: str
    tenant_id: str
    idempotency_key: str
    attempt: int
    lines: tuple[Line, ...]
    epoch: int
    granted_at: int
    expires_at: int
    first_expires_at: int
    extensions_used: int
    fence: int
    state: str


@dataclass(frozen=True, slots=True)
class BookingRow:
    booking_id: str
    tenant_id: str
    hold_id: str
    record_locator: str
    status: str
    lines: tuple[Line, ...]
    client_reference: str | None
    version: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    event_id: str
    type: str
    version: int
    tenant_id: str | None
    aggregate_type: str
    aggregate_id: str
    sequence: int
    occurred_at: int
    data: dict[str, Any]
    position: int | None
    published_at: int | None


@dataclass(frozen=True, slots=True)
class IdempotencyRow:
    tenant_id: str
    route: str
    idempotency_key: str
    subject_id: str


@dataclass(frozen=True, slots=True)
class EpochRow:
    epoch: int
    mode: str
    incarnation: str | None
    cut: int


@dataclass(frozen=True, slots=True)
class RedisCabin:
    version: int
    limits: tuple[int, ...]
    sold: tuple[int, ...]
    held: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RedisMemo:
    """A memo; a tombstone has no `lines` and no times."""

    state: str
    lines: tuple[Line, ...]
    expires_at: int | None
    granted_at: int | None
    fence: int | None


@dataclass(frozen=True, slots=True)
class RedisDump:
    """The open epoch's data; empty if none is open. `now` is the server's TIME after the reading."""

    epoch: int | None = None
    now: int = 0
    clock: int = 0
    flights: Mapping[str, Mapping[str, RedisCabin]] = field(default_factory=dict)
    memos: Mapping[str, RedisMemo] = field(default_factory=dict)
    expiries: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by flight
    fresh: Mapping[str, int] = field(default_factory=dict)
    pinned: Mapping[str, int] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()

    def about(self, flight_ids: Collection[str]) -> "RedisDump":
        return replace(
            self,
            flights={one: cabins for one, cabins in self.flights.items() if one in flight_ids},
            memos={i: memo for i, memo in self.memos.items() if _touches(memo.lines, flight_ids)},
            expiries={one: due for one, due in self.expiries.items() if one in flight_ids},
        )


@dataclass(frozen=True, slots=True)
class Dumps:
    inventory: tuple[InventoryRow, ...] = ()
    hold_journal: tuple[JournalRow, ...] = ()
    bookings: tuple[BookingRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    idempotency: tuple[IdempotencyRow, ...] = ()
    epoch: EpochRow | None = None
    redis: RedisDump | None = None  # None: the run had no Redis
    bus: tuple[dict[str, Any], ...] | None = (
        None  # published envelopes; None: they were not recorded
    )
    bus_torn: int = 0  # lines that were cut off when a relay was killed

    def about(self, flight_ids: Collection[str]) -> "Dumps":
        """Only the data about these flights, for stores that are older than the run."""
        holds = tuple(row for row in self.hold_journal if _touches(row.lines, flight_ids))
        bookings = tuple(row for row in self.bookings if _touches(row.lines, flight_ids))
        known = {row.booking_id for row in bookings} | set(flight_ids)
        facts = tuple(
            row
            for row in self.outbox
            if row.aggregate_id in known or _is_about(row.data, flight_ids)
        )
        event_ids = {row.event_id for row in facts}
        bus = self.bus
        if bus is not None:
            bus = tuple(
                one
                for one in bus
                if one.get("id") in event_ids
                or one["aggregate"].get("id") in known
                or _is_about(one.get("data"), flight_ids)
            )
        return replace(
            self,
            inventory=tuple(row for row in self.inventory if row.flight_id in flight_ids),
            hold_journal=holds,
            bookings=bookings,
            outbox=facts,
            idempotency=tuple(row for row in self.idempotency if row.subject_id in known),
            redis=None if self.redis is None else self.redis.about(flight_ids),
            bus=bus,
        )

    def write(self, path: Path) -> None:
        """Write the dumps as JSON, for readers and tools."""
        path.write_text(json.dumps(asdict(self), default=sorted, separators=(",", ":")))


async def take(database_url: str, redis_url: str | None, bus_log_path: Path | None) -> Dumps:
    """Read everything; the caller makes sure that nothing is under way."""
    connection = await asyncpg.connect(
        database_url.replace("+asyncpg", ""),
        server_settings={"idle_in_transaction_session_timeout": "0"},  # rows are read here between
    )
    try:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            postgres = await _postgres(connection)
    finally:
        await connection.close()
    redis = None if redis_url is None else await _redis(redis_url)
    bus, torn = (None, 0) if bus_log_path is None else read_bus(bus_log_path)
    return Dumps(**postgres, redis=redis, bus=bus, bus_torn=torn)


def read_bus(path: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """The envelopes in a relay's standard output, and the number of other lines."""
    envelopes: list[dict[str, Any]] = []
    torn = 0
    with path.open("rb") as file:
        for line in file:
            try:
                envelope = json.loads(line)
            except ValueError:
                torn += bool(line.strip())
                continue
            if isinstance(envelope, dict) and "aggregate" in envelope:
                envelopes.append(envelope)
            else:
                torn += 1
    return tuple(envelopes), torn


def lines_of(packed: Iterable[Iterable[Any]]) -> tuple[Line, ...]:
    return tuple(Line(*line) for line in packed)


def _touches(lines: Iterable[Line], flight_ids: Collection[str]) -> bool:
    return any(line.flight_id in flight_ids for line in lines)


def _is_about(data: Any, flight_ids: Collection[str]) -> bool:
    segments = data.get("segments", ()) if isinstance(data, dict) else ()
    return any(segment.get("flight_id") in flight_ids for segment in segments)


async def _postgres(connection: Any) -> dict[str, Any]:
    epoch = await connection.fetchrow("SELECT * FROM redis_epoch WHERE shard = 0")
    return {
        "inventory": tuple(
            InventoryRow(
                row["flight_id"],
                row["cabin"],
                tuple(row["booking_classes"]),
                tuple(row["limits"]),
                tuple(row["ceilings"]),
                tuple(row["sold"]),
                row["sold_total"],
                row["ceiling_total"],
                row["version"],
            )
            for row in await connection.fetch("SELECT * FROM inventory")
        ),
        "hold_journal": tuple(
            map(_journal_row, await connection.fetch("SELECT * FROM hold_journal ORDER BY hold_id"))
        ),
        "bookings": tuple(
            BookingRow(
                row["booking_id"],
                row["tenant_id"],
                row["hold_id"],
                row["record_locator"],
                row["status"],
                lines_of(row["lines"]),
                row["client_reference"],
                row["version"],
            )
            for row in await connection.fetch("SELECT * FROM bookings ORDER BY booking_id")
        ),
        "outbox": tuple(
            map(_outbox_row, await connection.fetch("SELECT * FROM outbox ORDER BY position"))
        ),
        "idempotency": tuple(
            IdempotencyRow(
                row["tenant_id"], row["route"], row["idempotency_key"], row["subject_id"]
            )
            for row in await connection.fetch("SELECT * FROM idempotency_records")
        ),
        "epoch": None
        if epoch is None
        else EpochRow(epoch["epoch"], epoch["mode"], epoch["incarnation"], _us(epoch["cut"])),
    }


def _journal_row(row: Mapping[str, Any]) -> JournalRow:
    return JournalRow(
        row["hold_id"],
        row["tenant_id"],
        row["idempotency_key"],
        row["attempt"],
        lines_of(row["lines"]),
        row["epoch"],
        _us(row["granted_at"]),
        _us(row["expires_at"]),
        _us(row["first_expires_at"]),
        row["extensions_used"],
        row["fence"],
        row["state"],
    )


def _outbox_row(row: Mapping[str, Any]) -> OutboxRow:
    return OutboxRow(
        row["event_id"],
        row["type"],
        row["version"],
        row["tenant_id"],
        row["aggregate_type"],
        row["aggregate_id"],
        row["sequence"],
        _us(row["occurred_at"]),
        row["data"],
        row["position"],
        None if row["published_at"] is None else _us(row["published_at"]),
    )


def _us(instant: datetime) -> int:
    return microseconds(instant)


async def _redis(url: str) -> RedisDump:
    client = Redis.from_url(url, decode_responses=True)
    try:
        number = await client.get(keys.EPOCH)
        if number is None:
            return RedisDump(now=await _time(client))
        return await _open_epoch(client, Keys(int(number)), int(number))
    finally:
        await client.aclose()


async def _open_epoch(client: Any, names: Keys, number: int) -> RedisDump:
    flights: dict[str, dict[str, RedisCabin]] = {}
    memos: dict[str, RedisMemo] = {}
    expiries: dict[str, dict[str, int]] = {}
    flight, memo, due = (
        names.flight(FlightId("")),
        names.memo(HoldId("")),
        names.expiries(FlightId("")),
    )
    found = [name async for name in client.scan_iter(names.prefix + "*", count=READ_AT_ONCE)]
    for start in range(0, len(found), READ_AT_ONCE):
        batch = found[start : start + READ_AT_ONCE]
        pipe = client.pipeline(transaction=False)
        for name in batch:
            if name.startswith((flight, memo)):
                pipe.hgetall(name)
            elif name.startswith(due):
                pipe.zrange(name, 0, -1, withscores=True)
            else:
                pipe.exists(name)
        for name, value in zip(batch, await pipe.execute(), strict=True):
            if name.startswith(flight):
                flights[name.removeprefix(flight)] = _cabins(value)
            elif name.startswith(memo):
                memos[name.removeprefix(memo)] = _memo(value)
            elif name.startswith(due):
                expiries[name.removeprefix(due)] = {one: int(score) for one, score in value}
    return RedisDump(
        epoch=number,
        clock=int(await client.get(keys.CLOCK) or 0),
        flights=flights,
        memos={hold_id: one for hold_id, one in memos.items() if one.state},
        expiries=expiries,
        fresh={
            one: int(at) for one, at in await client.zrange(names.fresh, 0, -1, withscores=True)
        },
        pinned={
            one: int(at) for one, at in await client.zrange(names.pinned, 0, -1, withscores=True)
        },
        ended=frozenset(await client.smembers(names.ended)),
        now=await _time(client),
    )


async def _time(client: Any) -> int:
    seconds, rest = await client.time()
    return int(seconds) * 1_000_000 + int(rest)


def _cabins(flat: Mapping[str, str]) -> dict[str, RedisCabin]:
    names = {name.partition(":")[0] for name in flat if name.endswith(":limits")}
    return {
        name: RedisCabin(
            int(flat[f"{name}:version"]),
            _numbers(flat[f"{name}:limits"]),
            _numbers(flat[f"{name}:sold"]),
            _numbers(flat[f"{name}:held"]),
        )
        for name in names
    }


def _memo(flat: Mapping[str, str]) -> RedisMemo:
    lines = (part.split("|") for part in flat.get("lines", "").split(";") if part)
    return RedisMemo(
        flat.get("state", ""),
        tuple(Line(flight, cabin, int(at), int(seats)) for flight, cabin, at, seats in lines),
        _number(flat.get("expires_at")),
        _number(flat.get("granted_at")),
        _number(flat.get("fence")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _numbers(packed: str) -> tuple[int, ...]:
    return tuple(int(part) for part in packed.split(",") if part)
