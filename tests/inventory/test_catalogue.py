"""Flights kept close by: read together where they are not, and never an older one over a newer."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from app.ids import FlightId
from app.inventory import store
from app.inventory.catalogue import Catalogue
from app.inventory.model import Flight
from app.storage.database import Database, ReadSession
from app.wiring import Core
from tests.builders.flights import flight
from tests.fixtures.core import sell_from

KNOWN, UNKNOWN = FlightId("flt_known"), FlightId("flt_unknown")


@pytest.fixture
async def database(core: Core) -> Database:
    await sell_from(core, flight(flight_id=KNOWN))
    return core.database


async def test_many_who_ask_for_one_flight_wait_for_few_readings(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0
    read = store.read_flights

    async def counted(session: ReadSession, ids: Iterable[FlightId]) -> Mapping[FlightId, Flight]:
        nonlocal readings
        readings += 1
        return await read(session, ids)

    monkeypatch.setattr(store, "read_flights", counted)
    kept = Catalogue(database)
    asked = [kept.flights([KNOWN, UNKNOWN]) for _ in range(60)]
    answers = await asyncio.gather(*asked)
    assert [set(answer) for answer in answers] == [{KNOWN}] * 60
    assert readings <= 4
    assert set(await kept.flights([KNOWN])) == {KNOWN}
    assert readings <= 4


async def test_a_reading_that_was_overtaken_changes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (now,) = (await Catalogue(database).flights([KNOWN])).values()
    older, newer = replace(now, version=4), replace(now, version=5)
    answers = iter([newer, older])

    async def next_one(session: ReadSession, ids: Iterable[FlightId]) -> Mapping[FlightId, Flight]:
        return {KNOWN: next(answers)}

    monkeypatch.setattr(store, "read_flights", next_one)
    kept = Catalogue(database)
    assert await kept.read_again([KNOWN]) == {KNOWN: newer}
    assert await kept.read_again([KNOWN]) == {KNOWN: older}  # as it was read
    assert await kept.flights([KNOWN]) == {KNOWN: newer}
