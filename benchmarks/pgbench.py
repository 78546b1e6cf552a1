"""The same statements without us: what one booking sends, recorded, and played by pgbench.

One booking is made by the code itself while SQLAlchemy tells what it sends. Of that a script is made
whose every value is a variable, and a table with the values of as many bookings as there are holds:
the ids in what was recorded are replaced by each hold's own. A read of that table, one a transaction,
stands for the reads that the service makes itself.
"""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import Engine, event

from app.booking.model import BookingRequest, Contact, Passenger, Payment
from app.booking.sale import Order, Sales
from app.clock import utc_now
from app.dev.postgres import embedded_binaries
from app.hold.model import JournalEntry
from app.hold.pinning import PinProof
from app.idempotency.model import IdempotencyKey
from app.ids import HoldId, booking_id, event_id
from app.wiring import build_core
from benchmarks import seeding
from benchmarks.stage import Stage

CLIENTS: Final = 16
LOCATOR_LETTERS: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_TTL = timedelta(minutes=10)
_TPS = re.compile(r"tps = ([0-9.]+)")
_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_LATENCY = re.compile(r"latency average = ([0-9.]+) ms")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What one booking sent: each statement with its values as texts."""

    statements: Sequence[tuple[str, Sequence[str]]]
    entry: JournalEntry
    locator: str
    key: str


@dataclass(frozen=True, slots=True)
class Played:
    transactions: int
    seconds: float
    latency_ms: float


async def record(stage: Stage, number: int) -> Recorded:
    """Books the seeded hold of that number, in a database whose epoch is open."""
    statements: list[tuple[str, Sequence[str]]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        statements.append((" ".join(statement.split()), [_text(value) for value in values or ()]))

    core = build_core(stage.database_url, stage.valkey.url, hold_ttl=_TTL)
    try:
        entry = await core.journal.read(seeding.hold_id_of(number))
        assert entry is not None, "it was seeded"
        key, locator = "bench-key-00000000", _locator(number)
        sales = Sales(core.database, core.pins, utc_now, lambda: locator)
        order = Order(entry.tenant_id, _request(entry), IdempotencyKey(key, "0" * 64), entry, None)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            await sales.sell(order, PinProof(entry.hold_id, entry.epoch, entry.fencing_token))
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    finally:
        await core.close()
    return Recorded(statements, entry, locator, key)


async def prepare(connection: asyncpg.Connection, recorded: Recorded, holds: range) -> None:
    """The table of values; `holds` are numbers of seeded holds that are still to be booked."""
    columns = [
        f"v{at}_{place}"
        for at, (_, values) in enumerate(recorded.statements)
        for place in range(len(values))
    ]
    await connection.execute(
        f"CREATE TABLE bench_bookings (n bigint PRIMARY KEY, {', '.join(f'{c} text' for c in columns)})"
    )
    await connection.execute("CREATE SEQUENCE bench_number")
    rows = await connection.fetch(
        "SELECT hold_id, lines -> 0 ->> 0 AS a, lines -> 1 ->> 0 AS b FROM hold_journal"
    )
    flights = {row["hold_id"]: (row["a"], row["b"]) for row in rows}
    await connection.copy_records_to_table(
        "bench_bookings",
        records=list(_values_of(recorded, holds, flights)),
        columns=["n", *columns],
        timeout=120,
    )
    await connection.execute("ANALYZE bench_bookings")


def script(recorded: Recorded) -> str:
    columns: list[str] = []
    sent: list[str] = []
    for at, (statement, values) in enumerate(recorded.statements):
        columns += (f"v{at}_{place}" for place in range(len(values)))
        sent.append(re.sub(r"\$(\d+)", lambda m, at=at: f":v{at}_{int(m[1]) - 1}", statement))  # type: ignore[misc]
    look = (
        f"SELECT {', '.join(columns)} FROM (SELECT nextval('bench_number') AS n OFFSET 0) AS next"
        " JOIN bench_bookings USING (n) \\gset"
    )
    return "\n".join([look, "BEGIN;", *(f"{one};" for one in sent), "COMMIT;"]) + "\n"


async def play(stage: Stage, path: Path, transactions: int) -> Played:
    """So many transactions of each of 16 clients."""
    postgres = stage.postgres
    process = await asyncio.create_subprocess_exec(
        str(embedded_binaries() / "pgbench"),
        *("--no-vacuum", "--protocol=prepared", f"--file={path}", f"--client={CLIENTS}"),
        *("--jobs=1", f"--transactions={transactions}", "--host=127.0.0.1"),
        *(f"--port={postgres.port}", "--username=holdfast", stage.name),
        env={**os.environ, "PGPASSFILE": str(stage.servers_folder / "postgres" / "pgpass")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), 120)
    except BaseException:
        process.kill()
        raise
    told = out.decode()
    done, rate, latency = _DONE.search(told), _TPS.search(told), _LATENCY.search(told)
    if process.returncode != 0 or not done or not rate or not latency:
        raise RuntimeError(f"pgbench: {complaints.decode()[-800:]}")
    return Played(int(done[1]), int(done[1]) / float(rate[1]), float(latency[1]))


def _values_of(
    recorded: Recorded, holds: range, flights: dict[str, tuple[str, str]]
) -> Iterator[tuple[Any, ...]]:
    first = recorded.entry
    was = _names(first.hold_id, recorded.key, recorded.locator)
    was_flights = tuple(line.flight_id for line in first.lines)
    pattern = re.compile("|".join(map(re.escape, (*was, *was_flights))))
    for n, number in enumerate(holds, start=1):
        hold_id = seeding.hold_id_of(number)
        new = _names(hold_id, f"bench-key-{number:08d}", _locator(number))
        swap = dict(zip((*was, *was_flights), (*new, *flights[hold_id]), strict=True))
        values = (
            pattern.sub(lambda m, swap=swap: swap[m[0]], value)  # type: ignore[misc]
            for _, statement_values in recorded.statements
            for value in statement_values
        )
        yield (n, *values)


def _names(hold_id: HoldId, key: str, locator: str) -> tuple[str, ...]:
    booked = booking_id(hold_id)
    return (hold_id, booked, event_id(booked, 1), key, locator)


def _locator(number: int) -> str:
    letters = ""
    for _ in range(6):
        number, at = divmod(number, len(LOCATOR_LETTERS))
        letters += LOCATOR_LETTERS[at]
    return letters


def _request(entry: JournalEntry) -> BookingRequest:
    return BookingRequest(
        entry.hold_id,
        (Passenger("ADT", "Ana", "Perez", date(1990, 4, 2)),),
        Contact("ana@example.com", "+56912345678"),
        Payment("pay-8c1f", entry.price.total),
        None,
    )


def _text(value: Any) -> str:
    """As PostgreSQL reads it."""
    if isinstance(value, list | tuple):
        return "{" + ",".join(map(_text, value)) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
