"""Answers assembled from cached parts equal the JSON of the schema, byte for byte."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.hold.journal.rows import entry_text
from app.hold.model import Hold, HoldStatus, JournalEntry, JournalState
from app.hold.views import original_answer
from app.ids import FlightId, HoldId, TenantId, booking_id
from app.inventory.itinerary import PassengerCounts, Segment, price
from app.inventory.model import BookingClass, CabinName, LocalTime, SeatLine, lines_to_json
from app.money import Money
from app.transport.http.wire.holds import hold_json, hold_out

ZONES = ("America/Santiago", "America/Sao_Paulo", "UTC")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=64)
UTC_TIMES = st.datetimes(
    datetime(2026, 1, 1),  # noqa: DTZ001 - made aware by the strategy
    datetime(2030, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@st.composite
def local_times(draw: st.DrawFn) -> LocalTime:
    utc = draw(UTC_TIMES).replace(microsecond=0)
    local = utc.replace(tzinfo=None) + timedelta(hours=draw(st.integers(-5, 0)))
    return LocalTime(local, draw(st.sampled_from(ZONES)), utc)


@st.composite
def segments(draw: st.DrawFn, currency: str) -> Segment:
    return Segment(
        FlightId("flt_" + draw(st.sampled_from("abc"))),
        "LA",
        "801",
        "SCL",
        draw(st.sampled_from(("GRU", "LIM"))),
        draw(local_times()),
        draw(local_times()),
        draw(st.sampled_from(CabinName)),
        BookingClass(draw(st.sampled_from("YM"))),
        Money(draw(st.integers(0, 10**9)), currency),
    )


@st.composite
def entries(draw: st.DrawFn) -> JournalEntry:
    currency = draw(st.sampled_from(("CLP", "USD", "KWD")))
    held = tuple(draw(st.lists(segments(currency), min_size=1, max_size=6)))
    passengers = PassengerCounts(
        draw(st.integers(1, 4)), draw(st.integers(0, 4)), draw(st.integers(0, 1))
    )
    granted_at = draw(UTC_TIMES)
    granted_at = granted_at.replace(microsecond=granted_at.microsecond // 1000 * 1000)
    expires_at = granted_at + timedelta(seconds=draw(st.integers(1, 3600)))
    return JournalEntry(
        hold_id=HoldId("hold_" + "a" * 26),
        tenant_id=TenantId(draw(ANY_TEXT)),
        idempotency_key=draw(PRINTABLE),
        attempt=draw(st.integers(1, 9)),
        request_hash="0f" * 32,
        client_reference=draw(st.none() | ANY_TEXT),
        lines=tuple(SeatLine(one.flight_id, one.cabin, 1, passengers.seats) for one in held),
        segments=held,
        passengers=passengers,
        price=price(held, passengers),
        epoch=draw(st.integers(1, 2**40)),
        granted_at=granted_at,
        expires_at=expires_at,
        first_expires_at=expires_at,
        state=draw(st.sampled_from(JournalState)),
    )


@st.composite
def holds(draw: st.DrawFn) -> Hold:
    entry = draw(entries())
    return replace(
        original_answer(entry),
        status=draw(st.sampled_from(HoldStatus)),
        price_guaranteed_until=draw(st.just(entry.expires_at) | UTC_TIMES),
        expires_in_seconds=draw(st.integers(0, 3600)),
        extensions_remaining=draw(st.integers(0, 1)),
        booking_id=draw(st.none() | st.just(booking_id(entry.hold_id))),
    )


@given(holds())
def test_a_hold_is_rendered_as_its_schema_renders_it(hold: Hold) -> None:
    assert hold_json(hold) == hold_out(hold).model_dump_json().encode()


@given(entries())
def test_a_journal_row_is_written_as_its_values_are(entry: JournalEntry) -> None:
    assert json.loads(entry_text(entry)) == {
        "hold_id": entry.hold_id,
        "tenant_id": entry.tenant_id,
        "idempotency_key": entry.idempotency_key,
        "attempt": entry.attempt,
        "request_hash": entry.request_hash,
        "client_reference": entry.client_reference,
        "lines": lines_to_json(entry.lines),
        "segments": [segment.to_json() for segment in entry.segments],
        "passengers": entry.passengers.to_json(),
        "price": entry.price.to_json(),
        "epoch": entry.epoch,
        "granted_at": entry.granted_at.isoformat(),
        "expires_at": entry.expires_at.isoformat(),
        "state": entry.state.value,
    }
