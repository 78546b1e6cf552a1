"""The names of all Redis keys, and their hash tag. Scripts append ids and days to the prefix.

All keys of a shard carry one tag, so that one script may touch a whole itinerary. A key of one epoch
carries its number: a rebuild writes beside the old data and never over it, and a script of an old epoch
cannot reach data of a newer one.
"""

import zlib
from typing import Final

from app.ids import FlightId, HoldId

TAG = "{hf}"
EPOCH = f"{TAG}:epoch"  # the number of the epoch that is open
LOADING = f"{TAG}:loading"  # the number of the epoch that holds the load lease
CLOCK = f"{TAG}:clock"  # microseconds: no script's time runs behind it

# To change this size or the hash, stop all processes and begin a new epoch: the bits that were written
# before mean nothing afterwards.
MARKS: Final = 1 << 24  # bits a day, 2 MiB; after a million keys a day 11 in 100 new ones look old


class Keys:
    """The names of one epoch's keys."""

    __slots__ = (
        "all_granted",
        "comparing",
        "drift",
        "due",
        "ended",
        "epoch",
        "fresh",
        "marking",
        "parts",
        "pinned",
        "prefix",
    )

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.prefix = f"{TAG}:{epoch}:"
        self.due = self.prefix + "due"  # flights by the earliest expiry of a hold on them
        self.fresh = self.prefix + "fresh"  # holds by grant, until their journal rows were seen
        self.ended = self.prefix + "ended"  # expired holds, until the journal has them as EXPIRED
        self.pinned = self.prefix + "pinned"  # pinned holds, by the time they were pinned
        self.parts = self.prefix + "parts"  # numbers of what was loaded, so that it is loaded once
        self.all_granted = self.prefix + "granted:all"  # the key filter is complete
        self.marking = self.prefix + "marking"  # lease of the process that fills the key filter
        self.comparing = self.prefix + "comparing"  # lease of the process that compares the stores
        self.drift = self.prefix + "drift"  # what it found

    def flight(self, flight_id: FlightId) -> str:
        return f"{self.prefix}f:{flight_id}"

    def expiries(self, flight_id: FlightId) -> str:
        return f"{self.prefix}x:{flight_id}"

    def granted_on(self, day: int) -> str:
        """The marks of the keys that were granted a hold on that day since 1970, by the scripts' clock."""
        return f"{self.prefix}granted:{day}"

    def memo(self, hold_id: HoldId) -> str:
        return f"{self.prefix}h:{hold_id}"


def mark_of(first: HoldId) -> int:
    """The bit of an idempotency key, below MARKS; `first` is the id of its first attempt."""
    return zlib.crc32(first.encode()) % MARKS


def epoch_of(key: str) -> int | None:
    """The epoch a key belongs to, or None for those of no epoch."""
    number = key.removeprefix(TAG + ":").partition(":")[0]
    return int(number) if number.isdigit() else None
