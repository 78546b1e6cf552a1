"""Whether PostgreSQL keeps what it commits: the settings that every promise rests on.

Asked on a connection of our own, so that what is set for our role, for our database or by a pooler is
seen as it will be. A setting that the server does not know endangers nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.errors import DatabaseUnavailable

NEEDED: Final[Mapping[str, str]] = {
    "fsync": "a crash of the machine loses or tears what was committed",
    "full_page_writes": "a crash in the middle of a write tears pages that were committed",
    "synchronous_commit": "a crash loses the last bookings and holds that were already answered",
}
"""What must not be `off`, and what happens where it is."""

ASK: Final = "SELECT " + ", ".join(f"current_setting('{name}', true) AS {name}" for name in NEEDED)


class UnsafeDatabase(DatabaseUnavailable):
    """The server answers, and may forget what it committed: nothing is promised on it."""

    def __init__(self, settings: Sequence[str]) -> None:
        off = " and ".join(f"{name}=off" for name in settings)
        on = ", ".join(f"{name} = on" for name in settings)
        super().__init__(
            f"PostgreSQL runs with {off}: {NEEDED[settings[0]]}. Set {on}, and reload it."
        )


def dangers(found: Mapping[str, Any]) -> list[str]:
    """The names of NEEDED that are off."""
    return [name for name in NEEDED if found[name] == "off"]
