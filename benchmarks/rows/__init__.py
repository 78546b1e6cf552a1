"""All rows, in the order of the table."""

from typing import Final

from benchmarks.rows import growing, holding, keeping, relaying, searching, selling
from benchmarks.rows.base import Row

_DEFAULT: Final = (
    Row("hold", "hold two segments, 64 clients, against a route that makes an id", holding.hold),
    Row("unshared", "the same with coalescing off, against hold", holding.unshared),
    Row("contention", "hold and release on one flight, against 1,000", holding.contention),
    Row("sold-out", "refusals of a full flight, against hold", holding.sold_out),
    Row("booking", "book ready holds, against pgbench with the statements", selling.booking),
    Row("one-flight", "bookings all on one flight, against 1,000", selling.booking_one_flight),
    Row("search-warm", "search one market and day, against the bytes", searching.warm),
    Row("search-cold", "search what nobody asked before, against its SQL", searching.cold),
    Row("relay", "drain 100,000 facts, against reading and deleting them", relaying.drain),
    Row("relay-lag", "age of a fact at the bus, at half the top booking rate", relaying.lag),
    Row("overload", "ten times the peak, against the peak", holding.overload),
    Row(
        "memory",
        "bytes of a hold, tombstone, flight, day of marks and open request",
        keeping.memory,
    ),
)
_BY_NAME: Final = (
    Row("growth-holds", "a hold among 1,000 to 1,000,000 live ones", growing.live_holds),
    Row("growth-flights", "holds and searches, 10,000 to 1,000,000 flights", growing.flights),
    Row("growth-both", "the largest numbers of both together, and memory", growing.both),
    Row("growth-workers", "one worker and two", growing.workers),
    Row("recovery", "Redis emptied with 100,000 live holds, to the next hold", keeping.recovery),
)
ROWS: Final = {row.name: row for row in (*_DEFAULT, *_BY_NAME)}
DEFAULT: Final = tuple(row.name for row in _DEFAULT)
