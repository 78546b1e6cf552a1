"""The time, passed as an argument.

Code that needs the time takes a `Clock`, so that tests can set it. This clock never decides an expiry: a hold
ends when Redis, in the current epoch, says so (docs/decisions/0005-journaled-holds.md).
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present time as an aware datetime in UTC."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with Z; with milliseconds if there are any."""
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    text = utc.isoformat(timespec="milliseconds" if utc.microsecond >= 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z"
