"""The faults, by name; each is one small class."""

from tests.faults.faults.base import Fault
from tests.faults.faults.clients import ClientsHangUp, Nothing
from tests.faults.faults.network import (
    Cut,
    HalfOpen,
    PostgresRepliesDropped,
    RedisRepliesDropped,
    Slow,
    Stalled,
)
from tests.faults.faults.postgres import BackendFrozen, BackendsTerminated, PostgresKilled
from tests.faults.faults.processes import (
    AllKilled,
    ApiFrozen,
    ApiKilled,
    ClocksMoved,
    RelayFrozen,
    RelayKilled,
)
from tests.faults.faults.redis_disturbed import PolicyChanged, RedisFrozen, ScriptsFlushed
from tests.faults.faults.redis_lost import RedisEmptied, RedisFlushed, RedisKilled, RedisOlder
from tests.faults.faults.redis_replaced import OldPrimary, RedisPromoted

_ALL: tuple[type[Fault], ...] = (
    RedisKilled,
    RedisOlder,
    RedisEmptied,
    RedisFlushed,
    RedisPromoted,
    OldPrimary,
    RedisFrozen,
    ScriptsFlushed,
    PolicyChanged,
    RedisRepliesDropped,
    PostgresRepliesDropped,
    HalfOpen,
    Stalled,
    Slow,
    Cut,
    PostgresKilled,
    BackendsTerminated,
    BackendFrozen,
    ApiKilled,
    ApiFrozen,
    RelayKilled,
    RelayFrozen,
    ClocksMoved,
    AllKilled,
    ClientsHangUp,
    Nothing,
)
FAULTS: dict[str, type[Fault]] = {one.name: one for one in _ALL}
