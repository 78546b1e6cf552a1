"""A dump has the data of both stores and of the bus."""

import json
from pathlib import Path

from app.hold.model import microseconds
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.faults.checker import Terms, check
from tests.faults.dumps import Line, RedisCabin, read_bus, take
from tests.faults.history import History
from tests.fixtures.core import StartCore, sell_from

FLIGHT = "flt_dumped"


async def test_a_hold_is_in_both_stores(
    start_core: StartCore, empty_database: str, empty_redis: str
) -> None:
    core = await start_core()
    await sell_from(core, flight(flight_id=FLIGHT))
    held = (await core.holds(no_offers).place(DEMO, request((FLIGHT, "M"), adults=2), key())).value

    dumps = await take(empty_database, empty_redis, None)

    line = Line(FLIGHT, "economy", 2, 2)
    (row,) = dumps.hold_journal
    assert (row.hold_id, row.state, row.lines) == (held.hold_id, "HELD", (line,))
    assert row.expires_at == microseconds(held.expires_at)
    assert dumps.redis is not None
    assert dumps.redis.flights[FLIGHT]["economy"] == RedisCabin(1, (10, 6), (0, 0), (0, 2))
    memo = dumps.redis.memos[held.hold_id]
    assert (memo.state, memo.lines, memo.expires_at) == ("HELD", (line,), row.expires_at)
    assert dumps.redis.expiries == {FLIGHT: {held.hold_id: row.expires_at}}
    assert dumps.redis.epoch == row.epoch == (dumps.epoch.epoch if dumps.epoch else None)
    assert check(History(), dumps, Terms()) == []
    assert dumps.about(["flt_other"]).hold_journal == ()


def test_a_line_that_was_cut_off_is_no_envelope(tmp_path: Path) -> None:
    envelope = {"id": "evt_1", "aggregate": {"type": "booking", "id": "bkg_1"}}
    whole = json.dumps(envelope)
    log = tmp_path / "bus.log"
    log.write_text(f"{whole}\n{whole[:20]}\n" + '{"event": "a line of the log"}\n' + f"{whole}\n")
    assert read_bus(log) == ((envelope, envelope), 2)
