"""A script that ran and whose answer was lost: the same id is asked for again, and there is one hold."""

from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import HoldStoreUnavailable
from app.hold.redis.scripts import ATTEMPTS_MAX
from app.ids import FlightId
from app.inventory.model import CabinName
from app.wiring import Core
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.core import sell_from

SOUTH = "flt_south"


def lose_answers(core: Core, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The server does what it is told the next so many times, and is not heard to say so."""
    evalsha, left = core.redis.evalsha, [None] * count

    async def evalsha_unheard(*arguments: Any) -> Any:
        answer = await evalsha(*arguments)
        if left:
            left.pop()
            raise RedisTimeoutError
        return answer

    monkeypatch.setattr(core.redis, "evalsha", evalsha_unheard)


async def held(core: Core) -> int:
    (counts,) = await core.availability.counts([(FlightId(SOUTH), CabinName.ECONOMY)])
    assert counts is not None
    return counts.held[0]


async def test_an_answer_that_was_lost_is_asked_for_again(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    holds, asked, same = core.holds(no_offers), request((SOUTH, "Y"), adults=2), key()
    lose_answers(core, monkeypatch, ATTEMPTS_MAX - 1)
    hold = await holds.place(DEMO, asked, same)
    assert (await holds.place(DEMO, asked, same)).value == hold.value
    assert await held(core) == 2


async def test_what_was_never_answered_is_settled_by_the_same_key(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sell_from(core, flight(flight_id=SOUTH))
    holds, asked, same = core.holds(no_offers), request((SOUTH, "Y"), adults=2), key()
    lose_answers(core, monkeypatch, ATTEMPTS_MAX)
    with pytest.raises(HoldStoreUnavailable):
        await holds.place(DEMO, asked, same)
    assert await held(core) == 2
    hold = await holds.place(DEMO, asked, same)
    assert (await holds.place(DEMO, asked, same)).value == hold.value
    assert await held(core) == 2
