"""Parts of answers as JSON, rendered once and cached.

Most answers have the same segments at the same fares as recent ones. A module that assembles answers from
these parts must have a test that compares them with the JSON of the schema, byte for byte.
"""

from functools import lru_cache
from typing import Final

from pydantic_core import to_json

from app.clock import instant_text
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import LocalTime
from app.transport.http.wire.schemas import counts_out, duration_text, price_out

PARTS_MAX: Final = 8192  # cached parts of each kind


@lru_cache(maxsize=PARTS_MAX)
def segment_json(segment: Segment) -> str:
    """Rendered without the schema, since an uncached search renders dozens of segments."""
    lasting = duration_text(segment.arriving_at.utc - segment.departing_at.utc)
    fare = segment.fare
    return (
        f'{{"flight_id":{text_json(segment.flight_id)},"carrier":{text_json(segment.carrier)},'
        f'"flight_number":{text_json(segment.flight_number)},"origin":{text_json(segment.origin)},'
        f'"destination":{text_json(segment.destination)},'
        f'"departing_at":{_time_json(segment.departing_at)},'
        f'"arriving_at":{_time_json(segment.arriving_at)},"duration":"{lasting}",'
        f'"cabin":"{segment.cabin}","booking_class":{text_json(segment.booking_class)},'
        f'"fare":{{"amount":"{fare.amount}","currency":{text_json(fare.currency)}}}}}'
    )


@lru_cache(maxsize=PARTS_MAX)
def price_json(price: Price) -> str:
    return price_out(price).model_dump_json()


@lru_cache(maxsize=PARTS_MAX)
def counts_json(counts: PassengerCounts) -> str:
    return counts_out(counts).model_dump_json()


def _time_json(time: LocalTime) -> str:
    local = time.local.isoformat(timespec="seconds")
    zone = text_json(time.time_zone)
    return f'{{"local":"{local}","time_zone":{zone},"utc":"{instant_text(time.utc)}"}}'


def text_json(text: str | None) -> str:
    return "null" if text is None else to_json(text).decode()
