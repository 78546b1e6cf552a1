"""All rows, in the order of the table."""

from typing import Final

from benchmarks.rows import holding, selling
from benchmarks.rows.base import Row

ROWS: Final = {
    row.name: row
    for row in (
        Row(
            "hold",
            "place holds of two segments, 64 clients, against a route that makes an id",
            holding.hold,
        ),
        Row("unshared", "the same with coalescing off, against hold", holding.unshared),
        Row(
            "contention",
            "hold and release on one flight, against 1,000 flights",
            holding.contention,
        ),
        Row("sold-out", "refusals of a full flight, against hold", holding.sold_out),
        Row(
            "booking", "book ready holds, against pgbench with the same statements", selling.booking
        ),
        Row("one-flight", "bookings all on one flight, against 1,000", selling.booking_one_flight),
        Row("overload", "ten times the peak, against the peak", holding.overload),
    )
}
