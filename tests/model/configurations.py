"""The worlds that the model explores: each is small enough to try every order of steps, for one danger.

Holds are named A, B, …; A2 is the second attempt of A's key. One seat is left unless the world says more.
"""

from dataclasses import replace
from typing import Any

from tests.model.world import Budget, Configuration, Part

A, A2, B, C, E, N = ((name, (0,)) for name in ("A", "A2", "B", "C", "E", "N"))
_HELD: Any = (("hold", 0),)


def _part(kind: str, **values: Any) -> Part:
    return Part(kind, **values)


def hold(key: int) -> Part:
    return _part("hold", key=key)


def again(key: int) -> Part:
    return _part("hold", key=key, is_retry=True)


def confirm(held: int) -> Part:
    return _part("confirm", hold=held)


def resolve(held: int) -> Part:
    return _part("resolve", hold=held)


def sweep(held: int) -> Part:
    return _part("sweep", hold=held)


def expire(held: int) -> Part:
    return _part("expire", hold=held)


def look(held: int) -> Part:
    return _part("look", hold=held)


def release(held: int) -> Part:
    return _part("release", hold=held)


def extend(held: int) -> Part:
    return _part("extend", hold=held)


def cancel(held: int) -> Part:
    return _part("cancel", hold=held)


def patch(limit: int) -> Part:
    return _part("patch", limit=limit)


REBUILD, FILL, SYNC, REDUCE_CEILING = (
    _part(kind) for kind in ("rebuild", "fill", "sync", "reduce")
)
END_EPOCH = _part("rebuild", unasked=True)
REBUILD_OTHER = _part("rebuild", at=1)


def _make(about: str, *parts: Part, **values: Any) -> Configuration:
    """A world of one flight with one seat and the holds A and B, unless `values` say otherwise."""
    named = tuple(replace(part, name=f"P{n}") for n, part in enumerate(parts, 1))
    whole: dict[str, Any] = {"limits": (1,), "holds": (A, B), "keys": ((0,), (1,))} | values
    return Configuration(about, parts=named, **whole)


def _one_epoch() -> dict[str, Configuration]:
    attempts: dict[str, Any] = {"holds": (A, A2, B), "keys": ((0, 1), (2,))}
    return {
        "duel": _make(
            "hold A, its retry, a slow append, sweepers, rival B",
            hold(0), again(0), sweep(0), hold(1), sweep(2),
            ttl=1, until=2, budget=Budget(unknowns=1), **attempts,
        ),
        "confirm": _make(
            "A held: two bookings, the resolver, rival B and its booking; a rollback, an unknown commit",
            confirm(0), confirm(0), resolve(0), hold(1), confirm(1),
            ttl=1, until=1, budget=Budget(rollbacks=1, unknowns=1), before=_HELD,
        ),
        "resolvers": _make(
            "A held: bookings, two resolvers, rival B, the expirer",
            confirm(0), resolve(0), resolve(0), hold(1), expire(0), confirm(0),
            ttl=1, until=1, budget=Budget(unknowns=1), before=_HELD,
        ),
        "release": _make(
            "A held: release against booking, a late duplicate of hold A, rival B",
            release(0), confirm(0), again(0), hold(1), resolve(0), confirm(1),
            ttl=2, until=1, before=_HELD,
        ),
        "late": _make(
            "hold A while its release and a duplicate are under way",
            hold(0), again(0), release(0), hold(1), sweep(0), ttl=2, until=2, budget=Budget(unknowns=1),
        ),
        "extend": _make(
            "A held: two extensions, booking, resolver, rival B, expirer",
            extend(0), extend(0), confirm(0), resolve(0), hold(1), expire(0),
            ttl=1, until=2, before=_HELD,
        ),
        "look": _make(
            "A held: it expires while it is read, extended, booked; rival B, expirer",
            look(0), extend(0), confirm(0), hold(1), expire(0), again(0), ttl=1, until=2, before=_HELD,
        ),
        "patch": _make(
            "two seats, A held, the limit lowered to 0 while B is taken, bookings, the ceiling reducer",
            patch(0), hold(1), confirm(0), confirm(1), REDUCE_CEILING, REDUCE_CEILING,
            limits=(2,), ttl=2, until=2, before=_HELD,
        ),
        "two": _make(
            "hold X over two flights against A and B on one each; sweeper; booking",
            hold(0), hold(1), hold(2), sweep(0), confirm(0), release(1),
            limits=(1, 1), holds=(("X", (0, 1)), A, ("B", (1,))), keys=((0,), (1,), (2,)), ttl=1, until=1,
        ),
        "together": _make(
            "two seats, A and B held: booked in one transaction; booked alone, released, resolved, rival N",
            _part("book together", several=(0, 1)), confirm(0), release(1), resolve(0), hold(2),
            limits=(2,), holds=(A, B, N), keys=((0,), (1,), (2,)), ttl=1, until=1,
            budget=Budget(unknowns=1), before=(("hold", 0), ("hold", 1)),
        ),
    }  # fmt: skip


def _loss() -> dict[str, Configuration]:
    once = Budget(losses=1)
    attempts: dict[str, Any] = {"holds": (A, A2, B), "keys": ((0, 1), (2,))}
    return {
        "duelloss": _make(
            "as duel, Redis lost once",
            hold(0), again(0), sweep(0), hold(1), REBUILD,
            ttl=1, until=1, faults=("flush",), budget=once, **attempts,
        ),
        "loss": _make(
            "A held: booking, rival B and its booking, Redis lost once",
            confirm(0), hold(1), confirm(1), REBUILD,
            ttl=1, until=2, faults=("flush", "empty", "stale", "split"), budget=once, before=_HELD,
        ),
        "lossres": _make(
            "A held: booking, resolver, release, rival B, Redis lost once",
            confirm(0), resolve(0), release(0), hold(1), REBUILD,
            ttl=1, until=1, faults=("flush", "split"), budget=once, before=_HELD,
        ),
        "clock+": _make(
            "as loss, the clocks of the new Redis and PostgreSQL are ahead; expirer, resolver",
            confirm(0), hold(1), REBUILD, expire(0), resolve(0),
            ttl=2, until=2, faults=("empty", "split"), budget=once, before=_HELD,
            redis_offset=1, postgres_offset=2,
        ),
        "clock-": _make(
            "as loss, the clocks of the new Redis and PostgreSQL are behind",
            confirm(0), hold(1), confirm(1), release(1), REBUILD,
            ttl=1, until=2, faults=("empty",), budget=once, before=_HELD,
            redis_offset=-2, postgres_offset=-2,
        ),
        "back": _make(
            "A held: the clock of Redis goes back, Redis is lost; rival B, expirer, bookings",
            hold(1), expire(0), confirm(0), confirm(1), REBUILD,
            ttl=1, until=1, faults=("back", "flush"), budget=Budget(losses=2), before=_HELD,
        ),
        "extendback": _make(
            "A held: it is read, the clock of Redis goes back, it is extended; expirer, booking",
            look(0), extend(0), expire(0), confirm(0),
            ttl=1, until=2, faults=("back",), budget=once, before=_HELD,
        ),
        "extendloss": _make(
            "A held: extension, rival B, Redis lost once, a late retry of hold A",
            extend(0), hold(1), REBUILD, again(0),
            ttl=1, until=2, faults=("flush", "empty", "split"), budget=once, before=_HELD,
        ),
        "cancel": _make(
            "two seats, C booked, A held: cancel C and book A around a rebuild, rivals B and N",
            cancel(0), confirm(1), REBUILD, hold(2), hold(3),
            limits=(2,), holds=(C, A, B, N), keys=((), (1,), (2,), (3,)), ttl=1, until=0,
            faults=("flush", "split"), budget=once, before=(("book", 0), ("hold", 1)),
        ),
        "sync": _make(
            "two seats, C booked: cancel, a lowered limit and the sync around a rebuild, rival B",
            cancel(0), patch(1), SYNC, REBUILD, hold(1),
            limits=(2,), holds=(C, B), keys=((), (1,)), ttl=1, until=0,
            faults=("flush", "split"), budget=once, before=(("book", 0),),
        ),
        "split": _make(
            "a lagging replica is promoted, the old primary still serves: holds on each side, booking",
            hold(1), hold(2), confirm(1), REBUILD,
            holds=(A, B, N), keys=((0,), (1,), (2,)), ttl=2, until=1,
            faults=("split", "stale"), budget=Budget(losses=1, catch_ups=1),
        ),
        "tomb": _make(
            "A released, Redis lost, a late duplicate of hold A, rival B, sweeper",
            release(0), again(0), hold(1), REBUILD, sweep(0),
            ttl=2, until=1, faults=("flush", "split"), budget=once, before=_HELD,
        ),
        "dup": _make(
            "A booked, Redis lost, a late retry of hold A, two bookings",
            confirm(0), again(0), REBUILD, hold(1), confirm(0),
            ttl=2, until=0, faults=("flush", "split"), budget=once, before=_HELD,
        ),
        "patchloss": _make(
            "as patch, Redis lost once",
            patch(0), hold(1), confirm(1), REDUCE_CEILING, REBUILD,
            limits=(2,), ttl=2, until=0, faults=("flush", "split"), budget=once, before=_HELD,
        ),
        "reduce": _make(
            "A held, the limit lowered to 0, A expires, the ceiling reducer, Redis lost once",
            patch(0), expire(0), REDUCE_CEILING, confirm(0), REBUILD,
            ttl=1, until=1, faults=("flush", "split"), budget=once, before=_HELD,
        ),
        "cut": _make(
            "two seats, A and E held, E extended, B takes A's seat and is booked, Redis lost once",
            confirm(0), hold(1), confirm(1), extend(2), REBUILD,
            limits=(2,), holds=(A, B, E), keys=((0,), (1,), (2,)), ttl=1, until=1,
            faults=("flush",), budget=once, before=(("hold", 0), ("hold", 2)),
        ),
        "batch": _make(
            "two seats: A and B in one script call and one INSERT, sweepers, a retry of A, Redis lost once",
            _part("batch", several=(0, 1)), sweep(0), again(0), sweep(2), REBUILD,
            limits=(2,), ttl=1, until=1, faults=("flush",), budget=once, **attempts,
        ),
        "togetherloss": _make(
            "two seats, A and B held: booked in one transaction while Redis is lost once, rival N",
            _part("book together", several=(0, 1)), confirm(1), REBUILD, hold(2),
            limits=(2,), holds=(A, B, N), keys=((0,), (1,), (2,)), ttl=1, until=1,
            faults=("flush", "split"), budget=once, before=(("hold", 0), ("hold", 1)),
        ),
    }  # fmt: skip


def _rebuilds() -> dict[str, Configuration]:
    return {
        "loss2": _make(
            "A held: booking, rival B, Redis lost twice, two rebuilders",
            confirm(0), hold(1), REBUILD, REBUILD,
            ttl=2, until=0, faults=("split",), budget=Budget(losses=2), before=_HELD,
        ),
        "rebuild2": _make(
            "two rebuilders, Redis lost twice, also in mid-load; booking of A, rival B",
            REBUILD, REBUILD, hold(1), confirm(0),
            ttl=3, until=0, faults=("flush", "empty"), budget=Budget(losses=2), before=_HELD,
        ),
        "rebuild3": _make(
            "a replica that is half loaded or newly opened is promoted during a rebuild",
            END_EPOCH, REBUILD, hold(1),
            ttl=2, until=0, faults=("stale", "split"), budget=Budget(losses=1, catch_ups=1), before=_HELD,
        ),
        "away": _make(
            "no Redis answers: the epoch is ended without one; A is booked; the old Redis answers again",
            END_EPOCH, REBUILD, confirm(0), hold(1), look(0),
            ttl=1, until=1, before=_HELD,
        ),
        "away2": _make(
            "as away, but Redis comes back empty, or with a lagging replica beside it; expirer",
            END_EPOCH, REBUILD, confirm(0), expire(0),
            ttl=1, until=1, faults=("empty", "split"), budget=Budget(losses=1), before=_HELD,
        ),
        "both": _make(
            "a replica is promoted, the old primary still serves, and each side has a rebuilder",
            REBUILD, REBUILD_OTHER, confirm(0), hold(1),
            ttl=2, until=0, faults=("split",), budget=Budget(losses=1), before=_HELD,
        ),
    }  # fmt: skip


def _ages() -> dict[str, Configuration]:
    attempts: dict[str, Any] = {"holds": (A, A2, B), "keys": ((0, 1), (2,))}
    return {
        "age": _make(
            "A held, then released, booked or expired; its tombstone vanishes; late retries, rival B",
            release(0), hold(1), again(0), confirm(0), again(0), expire(0),
            ttl=1, until=1, budget=Budget(forgettings=1), before=_HELD,
        ),
        "extendage": _make(
            "A held: it expires, the journal learns late; its tombstone vanishes; a retry, an extension",
            expire(0), again(0), extend(0),
            ttl=1, until=2, budget=Budget(forgettings=1), before=_HELD,
        ),
        "attempt": _make(
            "attempt 1 is aborted, attempt 2 answered; the tombstone vanishes; retries, rival B",
            hold(0), sweep(0), again(0), again(0), hold(1),
            ttl=2, until=2, budget=Budget(unknowns=1, forgettings=1), **attempts,
        ),
        "old": _make(
            "A held, then released, booked or expired; its row is deleted; the key is used again, rival B",
            release(0), confirm(0), again(0), confirm(0), expire(0),
            ttl=1, until=1, budget=Budget(forgettings=1, drops=1), before=_HELD,
        ),
        "new": _make(
            "A held and booked, Redis lost; a late retry, rival B, the key filter's filler",
            confirm(0), again(0), hold(1), REBUILD, FILL,
            ttl=2, until=0, faults=("flush", "split"), budget=Budget(losses=1, forgettings=1), before=_HELD,
        ),
        "newsplit": _make(
            "the old primary still serves: A answered on one side, its retry on the other; rival B",
            hold(0), again(0), hold(1), REBUILD,
            ttl=2, until=0, faults=("split", "flush"), budget=Budget(losses=1, forgettings=1),
        ),
        "newattempt": _make(
            "A aborted and answered at attempt 2, Redis lost in between; retry, rival B, filler",
            hold(0), sweep(0), again(0), REBUILD, FILL,
            ttl=2, until=0, faults=("flush",), budget=Budget(losses=1), **attempts,
        ),
    }  # fmt: skip


CONSTRAINT = _make(
    "beyond the assumptions: old data under the same incarnation; only the constraint must hold",
    confirm(0), hold(1), confirm(1),
    ttl=2, until=0, faults=("silent",), budget=Budget(losses=1, catch_ups=1), before=_HELD,
    constraint_only=True,
)  # fmt: skip
CONFIGURATIONS: dict[str, Configuration] = {
    **_one_epoch(), **_loss(), **_rebuilds(), **_ages(), "guard": CONSTRAINT,
}  # fmt: skip

EVERYTHING = _make(
    "one seat: A held, everything that can happen to it, rival B and its booking, Redis lost twice",
    confirm(0), confirm(0), resolve(0), resolve(0), hold(1), confirm(1), release(0), again(0),
    extend(0), expire(0), look(0), sweep(0), REBUILD, REBUILD, END_EPOCH,
    ttl=1, until=3, faults=("flush", "empty", "stale", "split"),
    budget=Budget(rollbacks=1, unknowns=1, losses=2, catch_ups=1, forgettings=1), before=_HELD,
)  # fmt: skip
LARGE = _make(
    "two flights, six holds, one over both, 22 parts, Redis lost twice",
    hold(0), again(0), hold(1), hold(2), hold(3), confirm(0), confirm(0), confirm(2), confirm(3),
    _part("book together", several=(2, 3)), resolve(0), resolve(3), sweep(0), sweep(3), release(2),
    extend(0), cancel(5), expire(0), patch(1), REDUCE_CEILING, SYNC, REBUILD, REBUILD, REBUILD,
    limits=(2, 1), holds=(A, A2, B, ("X", (0, 1)), ("E", (1,)), C), keys=((0, 1), (2,), (3,), (4,), ()),
    ttl=1, until=4, faults=("flush", "empty", "stale", "split"), redis_offset=-1, postgres_offset=2,
    budget=Budget(rollbacks=1, unknowns=2, losses=2, catch_ups=2, forgettings=1), before=(("book", 5),),
)  # fmt: skip
