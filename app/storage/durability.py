"""Whether PostgreSQL keeps what it commits: the settings on which every guarantee depends.

They are read on each of our own connections, so that values set for our role, for our database or by a pooler
are seen. A setting that the server does not know is no danger.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.errors import DatabaseUnavailable

NEEDED: Final[Mapping[str, str]] = {
    "fsync": "a crash of the machine loses or corrupts committed data",
    "full_page_writes": "a crash in the middle of a write corrupts committed pages",
    "synchronous_commit": "a crash loses the last bookings and holds that had already been confirmed",
}
"""Settings that must not be `off`, and the consequence if they are."""

QUERY: Final = "SELECT " + ", ".join(
    f"current_setting('{name}', true) AS {name}" for name in NEEDED
)


class UnsafeDatabase(DatabaseUnavailable):
    """The server answers, but may lose what it committed; Holdfast does not work with it."""

    def __init__(self, settings: Sequence[str]) -> None:
        off = " and ".join(f"{name}=off" for name in settings)
        on = ", ".join(f"{name} = on" for name in settings)
        super().__init__(
            f"PostgreSQL runs with {off}: {NEEDED[settings[0]]}. Set {on} and reload the configuration."
        )


def unsafe_settings(found: Mapping[str, Any]) -> list[str]:
    """The names of NEEDED that are off."""
    return [name for name in NEEDED if found[name] == "off"]
