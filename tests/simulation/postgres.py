"""A PostgreSQL in memory, behind the engine that app/storage/database.py uses.

A statement is a Python function that does what the shipped SQL does (tests/simulation/statements_*.py), on
rows with locks, at READ COMMITTED: it sees what is committed when it runs; to wait for a lock, it is run
again when a lock is released; and it writes nothing before it has all its locks. A transaction is atomic. A
process that freezes or dies leaves its transaction open, until the idle timeout. A COMMIT may be lost,
unanswered, or take effect late.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage.database import Database
from tests.simulation.effects import Blocked, Effects, Outcome
from tests.simulation.loop import OWNER, Process
from tests.simulation.rows import Rows
from tests.simulation.sql import Statement, UnknownStatement, resolve

Row = dict[str, Any]
Key = tuple[Any, ...]
Handler = Callable[["Transaction", Mapping[str, Any]], Rows]

IDLE_MAX: Final = 2_000_000  # microseconds, as in SERVER_SETTINGS
LOCK_MAX: Final = 2_000_000
TABLES: Final = (
    "flights",
    "inventory",
    "hold_journal",
    "redis_epoch",
    "epoch_gate",
    "bookings",
    "booking_passengers",
    "outbox",
    "outbox_head",
    "idempotency_records",
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _ServerError(Exception):
    """An error of the server as the driver raises it, with its SQLSTATE."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class _Broken(Exception):
    """The driver's error for a connection that has ended."""


def refused(sqlstate: str, text: str) -> DBAPIError:
    return DBAPIError(text, None, _ServerError(sqlstate, text))


def broken() -> DBAPIError:
    text = "connection was closed in the middle of operation"
    return DBAPIError(text, None, _Broken(text), connection_invalidated=True)


class Transaction:
    def __init__(self, server: "Postgres", number: int, process: Process | None) -> None:
        self.server = server
        self.number = number
        self.process = process
        self.is_open = True
        self.is_busy = False  # one of its statements is under way
        self.lock_max = LOCK_MAX
        self.idle_max = IDLE_MAX
        self.must_rerun = False  # its next statement fails with a serialization failure
        self.last_active = server.effects.now()
        self.writes: dict[str, dict[Key, Row | None]] = {}
        self.held: list[tuple[str, Key]] = []
        self.proven: int | None = None  # the epoch it share-locked as open
        self._view: dict[str, dict[Key, Row]] | None = None

    def freeze_view(self) -> None:
        """REPEATABLE READ: see everything as it was at the first statement."""
        if self._view is None:
            self._view = {name: dict(rows) for name, rows in self.server.tables.items()}

    def get(self, table: str, *key: Any) -> Row | None:
        written = self.writes.get(table)
        if written is not None and key in written:
            return written[key]
        view = self._view or self.server.tables
        return view[table].get(key)

    def rows(self, table: str) -> list[Row]:
        """All rows, in the order of their primary keys."""
        view = self._view or self.server.tables
        found: dict[Key, Row | None] = {**view[table], **self.writes.get(table, {})}
        return [row for _, row in sorted(found.items()) if row is not None]

    def put(self, table: str, key: Key, row: Row) -> None:
        self.writes.setdefault(table, {})[key] = row

    def delete(self, table: str, key: Key) -> None:
        self.writes.setdefault(table, {})[key] = None

    def lock(self, table: str, *key: Any, share: bool = False) -> None:
        """Raise Blocked while another transaction has the lock; a statement locks before it writes."""
        self.server.locks.take(self, (table, key), share=share)

    def now(self) -> datetime:
        return self.server.now()

    def end(self, *, commit: bool) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self.server.finish(self, commit=commit)


class Locks:
    def __init__(self) -> None:
        self._owners: dict[tuple[str, Key], dict[Transaction, bool]] = {}  # True: exclusive
        self._waits: dict[Transaction, set[Transaction]] = {}

    def take(self, who: Transaction, what: tuple[str, Key], *, share: bool) -> None:
        owners = self._owners.setdefault(what, {})
        others = {
            other
            for other, is_exclusive in owners.items()
            if other is not who and (is_exclusive or not share)
        }
        if others:
            self._waits[who] = others
            if self._is_deadlock(who):
                raise refused("40P01", "deadlock detected")
            raise Blocked
        self._waits.pop(who, None)
        if who not in owners:
            who.held.append(what)
        owners[who] = owners.get(who, False) or not share

    def release(self, who: Transaction) -> None:
        self._waits.pop(who, None)
        for what in who.held:
            owners = self._owners[what]
            del owners[who]
            if not owners:
                del self._owners[what]
        who.held.clear()

    def _is_deadlock(self, start: Transaction) -> bool:
        waiting, seen = list(self._waits[start]), set[Transaction]()
        while waiting:
            one = waiting.pop()
            if one is start:
                return True
            if one not in seen:
                seen.add(one)
                waiting += self._waits.get(one, ())
        return False


class Postgres:
    def __init__(
        self,
        effects: Effects,
        wall_clock: Callable[[], int],
        on_commit: Callable[[Transaction], None],
        failures: list[BaseException],
    ) -> None:
        self.effects = effects
        self.tables: dict[str, dict[Key, Row]] = {name: {} for name in TABLES}
        self.locks = Locks()
        self.open: list[Transaction] = []
        self.offset = 0
        self.commits = 0
        self.is_up = True
        self.life = 0
        self.failures = failures
        self._wall_clock = wall_clock
        self._on_commit = on_commit
        self._numbers = itertools.count(1)

    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._wall_clock() + self.offset)

    def begin(self) -> Transaction:
        transaction = Transaction(self, next(self._numbers), OWNER.get())
        self.open.append(transaction)
        return transaction

    def finish(self, transaction: Transaction, *, commit: bool) -> None:
        if commit and transaction.writes:
            self._on_commit(transaction)
            for table, written in transaction.writes.items():
                rows = self.tables[table]
                for key, row in written.items():
                    if row is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = row
            self.commits += 1
        self.open.remove(transaction)
        self.locks.release(transaction)
        self.effects.unblock()

    def run(self, transaction: Transaction, statement: Statement) -> Rows:
        if not transaction.is_open:
            raise broken()
        if transaction.must_rerun:
            raise refused("40001", "could not serialize access")
        try:
            return statement.run(transaction)
        except (Blocked, DBAPIError):
            raise
        except Exception as error:
            self.failures.append(error)
            raise

    def tick(self) -> None:
        """End what has timed out: idle transactions, and waits for locks."""
        now = self.effects.now()
        for transaction in [one for one in self.open if not one.is_busy]:
            if now > transaction.last_active + transaction.idle_max:
                transaction.end(commit=False)
        for effect in [one for one in self.effects.pending if one.is_blocked]:
            if (
                effect.is_blocked
                and effect.blocked_until is not None
                and now > effect.blocked_until
            ):
                if effect.give_up is not None:
                    effect.give_up(Outcome.LOST)
                timed_out = refused("55P03", "canceling statement due to lock timeout")
                self.effects.fail(effect, timed_out)

        for zombie in list(self.effects.zombies):
            if zombie.blocked_until is not None and now > zombie.blocked_until:
                self.effects.drop(zombie)

    def next_deadline(self) -> int | None:
        """The next time at which `tick` has something to end."""
        idle = [one.last_active + one.idle_max for one in self.open if not one.is_busy]
        waits = [
            one.blocked_until
            for one in self.effects.pending
            if one.is_blocked and one.blocked_until is not None
        ]
        return min(idle + waits) + 1 if idle or waits else None

    def crash(self) -> None:
        """kill -9: only committed data remains, and every connection ends."""
        self.life += 1
        for transaction in list(self.open):
            transaction.end(commit=False)

    def database(self) -> Database:
        return SimulatedDatabase(self)


class SimulatedDatabase(Database):
    """The shipped `Database`, on the simulated engine."""

    def __init__(self, server: Postgres) -> None:
        engine = Engine(server, autocommit=False)
        self._engine = cast("AsyncEngine", engine)
        self._autocommit = cast("AsyncEngine", Engine(server, autocommit=True))


class Engine:
    def __init__(self, server: Postgres, *, autocommit: bool) -> None:
        self._server = server
        self._autocommit = autocommit

    async def connect(self) -> "Connection":
        if not self._server.is_up:
            raise OSError("connection refused")
        return Connection(self._server, autocommit=self._autocommit)

    async def dispose(self) -> None:
        """Do nothing: there are no sockets to close."""


class Connection:
    def __init__(self, server: Postgres, *, autocommit: bool) -> None:
        self._server = server
        self._autocommit = autocommit
        self._is_snapshot = False
        self._life = server.life
        self._transaction: Transaction | None = None

    async def execution_options(self, *, isolation_level: str) -> None:
        assert isolation_level == "REPEATABLE READ"
        self._is_snapshot = True

    async def execute(self, statement: Any, parameters: Any = None) -> Rows:
        try:
            meant = resolve(statement, parameters)
        except UnknownStatement as error:
            self._server.failures.append(error)
            raise
        if self._autocommit:
            return await self._execute_alone(meant)
        if self._transaction is None:
            self._transaction = self._server.begin()
            if self._is_snapshot:
                self._transaction.freeze_view()
        return await self._execute_in(self._transaction, meant)

    async def commit(self) -> None:
        transaction = self._transaction
        if transaction is None:
            return

        def perform() -> None:
            if not transaction.is_open:
                raise broken()
            transaction.end(commit=True)

        await self._do("commit", perform, lambda outcome: _idle(transaction, outcome))
        self._transaction = None

    async def rollback(self) -> None:
        if self._transaction is not None:
            self._transaction.end(commit=False)
            self._transaction = None

    async def invalidate(self) -> None:
        self._transaction = None  # the server ends it when it notices

    async def close(self) -> None:
        if self._transaction is not None and self._life == self._server.life:
            process = self._transaction.process
            if process is None or not process.is_dead:
                await self.rollback()

    async def _execute_alone(self, meant: Statement) -> Rows:
        transactions: list[Transaction] = []

        def perform() -> Rows:
            if not transactions:
                transactions.append(self._server.begin())
            transaction = transactions[0]
            try:
                rows = self._server.run(transaction, meant)
            except Blocked:
                transaction.is_busy = True
                raise
            except Exception:
                transaction.end(commit=False)
                raise
            transaction.end(commit=True)
            return rows

        def give_up(outcome: Outcome) -> None:
            if outcome is Outcome.LOST and transactions:
                transactions[0].end(commit=False)

        return cast("Rows", await self._do(meant.name, perform, give_up))

    async def _execute_in(self, transaction: Transaction, meant: Statement) -> Rows:
        def perform() -> Rows:
            try:
                rows = self._server.run(transaction, meant)
            except Blocked:
                transaction.is_busy = True
                raise
            except Exception:
                transaction.end(commit=False)
                raise
            transaction.is_busy = False
            transaction.last_active = self._server.effects.now()
            return rows

        def give_up(outcome: Outcome) -> None:
            _idle(transaction, outcome)

        answer = await self._do(meant.name, perform, give_up, lambda: transaction.lock_max)
        return cast("Rows", answer)

    async def _do(
        self,
        label: str,
        perform: Callable[[], Any],
        give_up: Callable[[Outcome], None],
        lock_timeout: Callable[[], int] = lambda: LOCK_MAX,
    ) -> Any:
        process = OWNER.get()

        def here() -> Any:
            if self._life != self._server.life:
                raise broken()
            return perform()

        name = process.name if process is not None else "-"
        try:
            return await self._server.effects.do(
                f"{name} {label}", here, broken, give_up, lock_timeout
            )
        except DBAPIError as error:
            if error.connection_invalidated:
                self._transaction = None  # the server's to end
            raise


def _idle(transaction: Transaction, outcome: Outcome) -> None:
    """The client is gone: the transaction is idle, unless its last statement still waits or is under way."""
    if outcome is not Outcome.LATE:
        transaction.is_busy = False


def each(rows: Mapping[Key, Row]) -> Iterator[Row]:
    for key in sorted(rows):
        yield rows[key]
