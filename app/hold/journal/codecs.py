"""How the values of a journal entry are written as JSON and read from a row, one codec a kind of value."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from app.hold.model import JournalState
from app.inventory.itinerary import PassengerCounts, Price, Segment
from app.inventory.model import SeatLine, lines_from_json

TEXTS_MAX: Final = 8192  # of each kind: what is held once is mostly held again, in the same words


@dataclass(frozen=True, slots=True)
class Codec:
    """`encode` writes the text of a JSON value; `decode` reads the value of a row.

    `sql` is the type of the JSON value in a record.
    """

    sql: str
    encode: Callable[[Any], str]
    decode: Callable[[Any], Any]


def json_of(value: Any) -> Any:
    """The value of a JSON column: rows of textual statements bring it as text."""
    return json.loads(value) if isinstance(value, str) else value


def _optional_text(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def _instant_text(instant: datetime) -> str:
    return f'"{instant.isoformat()}"'


def _lines_text(lines: tuple[SeatLine, ...]) -> str:
    texts = [f'["{line.flight_id}","{line.cabin}",{line.position},{line.seats}]' for line in lines]
    return f"[{','.join(texts)}]"


@lru_cache(maxsize=TEXTS_MAX)
def _segment_text(segment: Segment) -> str:
    return json.dumps(segment.to_json())


def _segments_text(segments: tuple[Segment, ...]) -> str:
    return f"[{','.join(map(_segment_text, segments))}]"


@lru_cache(maxsize=TEXTS_MAX)
def _value_text(value: PassengerCounts | Price) -> str:
    return json.dumps(value.to_json())


TEXT: Final = Codec("text", quoted, str)
OPTIONAL_TEXT: Final = Codec("text", _optional_text, lambda text: text)
INTEGER: Final = Codec("int", str, int)
BIG_INTEGER: Final = Codec("bigint", str, int)
INSTANT: Final = Codec("timestamptz", _instant_text, lambda instant: instant.astimezone(UTC))
STATE: Final = Codec("text", quoted, JournalState)
LINES: Final = Codec("jsonb", _lines_text, lambda value: lines_from_json(json_of(value)))
SEGMENTS: Final = Codec(
    "jsonb", _segments_text, lambda value: tuple(Segment.from_json(one) for one in json_of(value))
)
PASSENGERS: Final = Codec(
    "jsonb", _value_text, lambda value: PassengerCounts.from_json(json_of(value))
)
PRICE: Final = Codec("jsonb", _value_text, lambda value: Price.from_json(json_of(value)))
