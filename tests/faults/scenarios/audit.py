"""Checks of PostgreSQL after any scenario: no booking is incomplete, no seat has two owners."""

from collections.abc import Iterable

from tests.faults.stack import Stack

_HALF_MADE = """
    SELECT j.hold_id, j.state FROM hold_journal j
    LEFT JOIN bookings b USING (hold_id)
    LEFT JOIN booking_passengers p ON p.booking_id = b.booking_id
    LEFT JOIN outbox o ON o.aggregate_id = b.booking_id AND o.type = 'booking.confirmed'
    GROUP BY j.hold_id, j.state
    HAVING NOT CASE WHEN j.state = 'CONFIRMED'
        THEN count(DISTINCT b.booking_id) = 1 AND count(DISTINCT o.event_id) = 1
            AND count(DISTINCT p.place) >= 1
        ELSE count(b.booking_id) = 0 END
    LIMIT 10
"""
_TAKEN = """
    WITH lines AS (
        SELECT line ->> 0 AS flight_id, (line ->> 3)::int AS seats, state
        FROM hold_journal, jsonb_array_elements(lines) AS line
        WHERE state IN ('HELD', 'CONFIRMED'))
    SELECT i.flight_id, i.limits[1] AS seats, i.sold_total AS sold,
        coalesce(sum(l.seats) FILTER (WHERE l.state = 'CONFIRMED'), 0)::int AS confirmed,
        coalesce(sum(l.seats) FILTER (WHERE l.state = 'HELD'), 0)::int AS held
    FROM inventory i LEFT JOIN lines l USING (flight_id)
    GROUP BY i.flight_id, i.limits, i.sold_total
"""
_STATES = "SELECT hold_id, state FROM hold_journal WHERE hold_id = ANY($1::text[])"


async def assert_sound(stack: Stack, *, full: bool = False) -> None:
    """No flight has more seats held and sold than it has seats; `full`: none has less."""
    async with stack.watcher() as connection:
        half_made = await connection.fetch(_HALF_MADE)
        flights = await connection.fetch(_TAKEN)
    assert not half_made, f"half made: {[tuple(row) for row in half_made]}"
    for flight in flights:
        assert flight["sold"] == flight["confirmed"], f"sold without a hold: {tuple(flight)}"
        taken = flight["held"] + flight["confirmed"]
        assert taken <= flight["seats"], f"a seat has two owners: {tuple(flight)}"
        assert not full or taken == flight["seats"], f"a seat has no owner: {tuple(flight)}"


async def states_of(stack: Stack, hold_ids: Iterable[str]) -> dict[str, str]:
    async with stack.watcher() as connection:
        return dict(await connection.fetch(_STATES, list(hold_ids)))
