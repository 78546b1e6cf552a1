"""One epoch as the code uses it: its number, the names of its keys, and the scripts bound to both.

Every script checks the epoch's number. Binding it here, once an epoch, keeps it out of every
method and caller.
"""

from dataclasses import dataclass
from datetime import timedelta

from app.hold.redis.holds import RedisHolds
from app.hold.redis.inspection import RedisInspection
from app.hold.redis.key_filter import RedisKeyFilter
from app.hold.redis.keys import Keys
from app.hold.redis.loading import RedisLoading
from app.hold.redis.scripts import Scripts
from app.hold.redis.seats import RedisSeats


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """One life of the Redis data; `number` is its epoch, which transactions prove.

    An epoch that is loaded has one too. In it only `loading`, and `holds` with `loading=True`, work.
    """

    number: int
    keys: Keys
    holds: RedisHolds
    seats: RedisSeats
    inspection: RedisInspection
    key_filter: RedisKeyFilter
    loading: RedisLoading


def life_of(number: int, scripts: Scripts, ttl: timedelta) -> Life:
    names = Keys(number)
    return Life(
        number,
        names,
        RedisHolds(scripts, names, ttl),
        RedisSeats(scripts, names),
        RedisInspection(scripts, names),
        RedisKeyFilter(scripts, names),
        RedisLoading(scripts, names),
    )
