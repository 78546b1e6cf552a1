"""What a promise costs: `python -m benchmarks.promise`.

A hold is granted by a script in Redis and promised by a row in Postgres, under the proof that the
epoch still stands (a share lock on its row); a booking pins the hold first and names its fence. Each of
these is measured beside the same without it, in turns, alone and for 32 holds at a time, on servers of
its own that sync to disk. Prints one line a step: microseconds a hold, the median of the rounds.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import text

from app.dev.postgres import Postgres
from app.dev.valkey import Valkey
from app.hold.journal import store as journal
from app.hold.model import Granted, JournalEntry, JournalState
from app.hold.redis.life import Life
from app.ids import FlightId, HoldId, TenantId
from app.inventory.model import SeatLine
from app.storage.database import WriteSession
from app.storage.migrations import upgrade
from app.wiring import Core, build_core
from tests.builders.flights import ECONOMY, flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

ROUNDS: Final = 15
HOLDS: Final = 192  # in a round
SIZES: Final = (1, 32)
FLIGHTS: Final = ("flt_bench_1", "flt_bench_2")
Step = Callable[[Sequence[HoldId]], Awaitable[None]]

_WITHOUT_PROOF: Final = text(
    str(journal._APPEND).replace(
        "FOR SHARE OF redis_epoch", ""
    )  # the same row, read and not locked
)


class _Bench:
    def __init__(self, core: Core, promise: JournalEntry, life: Life) -> None:
        self.core = core
        self.promise = promise
        self.life = life
        self._number = 0

    def ids(self, count: int) -> list[HoldId]:
        self._number += count
        return [HoldId(f"hold_bench{self._number - i:022d}") for i in range(count)]

    async def grant(self, ids: Sequence[HoldId]) -> None:
        versions = {line.flight_id: 1 for line in self.promise.lines}
        place, lines = self.life.holds.place, self.promise.lines
        outcomes = await asyncio.gather(
            *(place(hold_id, hold_id, "r", lines, versions) for hold_id in ids)
        )
        assert all(isinstance(outcome, Granted) for outcome in outcomes)

    async def promise_them(self, ids: Sequence[HoldId]) -> None:
        rows = self._rows(ids)
        written = await self.core.database.run_statement(
            lambda session: journal.append(session, rows)
        )
        assert len(written) == len(ids)

    async def write_without_proof(self, ids: Sequence[HoldId]) -> None:
        rows = self._rows(ids)
        proven, journal._APPEND = journal._APPEND, _WITHOUT_PROOF
        try:
            await self.core.database.run_statement(lambda session: journal.append(session, rows))
        finally:
            journal._APPEND = proven

    async def pin(self, ids: Sequence[HoldId]) -> None:
        await asyncio.gather(*(self.life.holds.pin(hold_id) for hold_id in ids))

    async def judge_by_fence(self, ids: Sequence[HoldId]) -> None:
        await self._judge(dict.fromkeys(ids, 1))

    async def judge_without(self, ids: Sequence[HoldId]) -> None:
        await self._judge(dict.fromkeys(ids))

    async def _judge(self, fences: dict[HoldId, int | None]) -> None:
        async def confirm(session: WriteSession) -> None:
            assert len(await journal.confirm(session, fences)) == len(fences)

        await self.core.database.run_statement(confirm)

    def _rows(self, ids: Sequence[HoldId]) -> list[JournalEntry]:
        return [replace(self.promise, hold_id=hold_id, state=JournalState.HELD) for hold_id in ids]


async def _timed(step: Step, ids: Sequence[HoldId], size: int) -> float:
    """Microseconds a hold."""
    began = time.perf_counter()
    for start in range(0, len(ids), size):
        await step(ids[start : start + size])
    return (time.perf_counter() - began) / len(ids) * 1e6


async def _measure(bench: _Bench) -> None:
    for size in SIZES:
        found: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            ids, bare = bench.ids(HOLDS), bench.ids(HOLDS)
            for name, step, over in (
                ("grant: the script", bench.grant, ids),
                ("promise: the row, under proof of the epoch", bench.promise_them, ids),
                ("  the same row without the share lock", bench.write_without_proof, bare),
                ("pin: out of reach of time", bench.pin, ids),
                ("judge: HELD to CONFIRMED by the fence", bench.judge_by_fence, ids),
                ("  the same without the fence", bench.judge_without, bare),
            ):
                found.setdefault(name, []).append(await _timed(step, over, size))
        print(f"{size} at a time, microseconds a hold (median of {ROUNDS} rounds of {HOLDS}):")
        for name, figures in found.items():
            print(f"  {name:<46} {statistics.median(figures):8.0f}")


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hf-", ignore_cleanup_errors=True) as folder:
        postgres, valkey = Postgres(Path(folder) / "pg"), Valkey(Path(folder) / "valkey")
        await postgres.start()
        await valkey.start()
        try:
            await asyncio.to_thread(upgrade, postgres.url)
            core = build_core(postgres.url, valkey.url, hold_ttl=timedelta(hours=1))
            try:
                await core.guardian.ensure_open()
                await _measure(await _bench_of(core))
            finally:
                await core.close()
        finally:
            await valkey.stop()
            await postgres.stop()


async def _bench_of(core: Core) -> _Bench:
    classes = [("Y", 9999, ECONOMY[0][2])]
    await sell_from(
        core,
        *(
            flight(flight_id=name, flight_number=str(801 + place), classes=classes)
            for place, name in enumerate(FLIGHTS)
        ),
    )
    holds = core.holds(no_offers)
    hold = (await holds.place(DEMO, request(*((name, "Y") for name in FLIGHTS)), key())).value
    promise = await core.journal.read_own(TenantId("demo"), hold.hold_id)
    assert promise is not None, "it was promised"
    lines = tuple(
        SeatLine(FlightId(line.flight_id), line.cabin, line.position, 1) for line in promise.lines
    )
    return _Bench(core, replace(promise, lines=lines), await core.epochs.life())


if __name__ == "__main__":
    asyncio.run(main())
