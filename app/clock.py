"""Time as an argument.

Whoever needs the time takes a `Clock`, so that tests own it. No expiry is ever decided by this
clock: a hold ends when Redis, in the current epoch, says so (docs/decisions/0005-journaled-holds.md).
"""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def utc_now() -> datetime:
    return datetime.now(UTC)
