"""Parts of answers as JSON, rendered once by their schemas and kept for the next answer.

What is sold is mostly what was sold a moment ago: the same segments at the same fares. Whoever puts an
answer together from these owes a test that it is the schema's own, to the byte.
"""

from functools import lru_cache
from typing import Final

from pydantic_core import to_json

from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.transport.http.schemas import counts_out, price_out, segment_out

PARTS_MAX: Final = 8192  # of each kind


@lru_cache(maxsize=PARTS_MAX)
def segment_json(segment: Segment) -> str:
    return segment_out(segment).model_dump_json()


@lru_cache(maxsize=PARTS_MAX)
def price_json(price: Price) -> str:
    return price_out(price).model_dump_json()


@lru_cache(maxsize=PARTS_MAX)
def counts_json(counts: PassengerCounts) -> str:
    return counts_out(counts).model_dump_json()


def text_json(text: str | None) -> str:
    return "null" if text is None else to_json(text).decode()
