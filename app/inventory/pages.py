"""All inventory rows, page by page in key order: as values, or packed into the text that scripts read.

There may be a million rows. PostgreSQL packs them, since that costs this process almost no time for each.
PostgreSQL only. Takes a session, never commits.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from app.inventory.model import InventoryRow
from app.inventory.store import inventory_row
from app.storage.database import ReadSession

Key = tuple[str, str]  # flight and cabin
FIRST: Final[Key] = ("", "")  # before every key
LAST: Final[Key] = ("~", "")  # after every key: ids begin with flt_

# The conditions on inventory.flight_id are repeated for flights.flight_id, since PostgreSQL does not
# derive them from the join: without them each page would read all flights before it.
_PAGE = """
    SELECT inventory.flight_id, cabin, limits, sold, inventory.version AS version,
           flights.version AS flight_version
    FROM inventory JOIN flights ON flights.flight_id = inventory.flight_id
    WHERE (inventory.flight_id, cabin) > (:flight_id, :cabin)
      AND (inventory.flight_id, cabin) <= (:last_flight_id, :last_cabin)
      AND flights.flight_id >= :flight_id AND flights.flight_id <= :last_flight_id
      AND flights.departing_utc > :since
    ORDER BY inventory.flight_id, cabin
    LIMIT :count
"""
_ROWS_PAGE = text(_PAGE)
_PACKED_PAGE = text(
    f"""
    SELECT string_agg(
        concat_ws('|', flight_id, cabin, version, array_to_string(limits, ','),
                  array_to_string(sold, ','), flight_version),
        E'\\n' ORDER BY flight_id, cabin)
    FROM ({_PAGE}) AS page
    """  # noqa: S608 - made of constants
)


class PackedRows(NamedTuple):
    """One line for each row: flight|cabin|version|limits|sold|flight version; lists are comma-separated."""

    text: str
    last: Key


async def rows(session: ReadSession, since: datetime, after: Key, count: int) -> list[InventoryRow]:
    """At most `count` rows after the key `after`, of flights that depart after `since`."""
    found = await session.execute(_ROWS_PAGE, _within(after, LAST, since, count))
    return [inventory_row(row) for row in found.mappings()]


async def packed_rows(
    session: ReadSession, since: datetime, after: Key, until: Key, count: int
) -> PackedRows | None:
    """At most `count` rows after the key `after`, up to `until`; None if there are none."""
    found = await session.execute(_PACKED_PAGE, _within(after, until, since, count))
    packed = found.scalar_one()
    if packed is None:
        return None
    flight_id, cabin, _ = packed[packed.rfind("\n") + 1 :].split("|", 2)
    return PackedRows(packed, (flight_id, cabin))


def _within(after: Key, until: Key, since: datetime, count: int) -> dict[str, Any]:
    return {
        "flight_id": after[0],
        "cabin": after[1],
        "last_flight_id": until[0],
        "last_cabin": until[1],
        "since": since,
        "count": count,
    }
