"""Sending scripts: together, once, and once more where no answer came; and what EPOCH means.

What concurrent requests ask travels as one call (app/concurrency/coalescer.py), in which each script runs as
if it had been sent alone. Every script carries the epoch it is meant for and answers EPOCH in any
other; that becomes `EpochMoved`, which is never a refusal: the caller learns the epoch again and starts
over. A call that got no answer is sent once more with the same arguments, since every script is
idempotent by its hold's id; after that the outcome is unknown and the caller hears
`HoldStoreUnavailable`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from app.concurrency.coalescer import BATCH_MAX, Coalescer
from app.errors import HoldStoreUnavailable
from app.hold.redis import keys
from app.ids import HoldId
from app.inventory.model import InventoryRow
from app.storage.lua import Argument, Bundle, Call, Script
from app.storage.redis import UNREACHABLE, WrongIncarnation

SENDINGS_MAX: Final = 2
SHARED_MAX: Final = 100  # keys and arguments; a call that brings more of its own travels alone
_LUA = Path(__file__).parent / "lua"


class EpochMoved(Exception):
    """Redis does not hold the data of the epoch that was named; nothing was done."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked(Call):
    echo: HoldId | None


class Scripts:
    def __init__(self, client: Redis, *, batch_max: int = BATCH_MAX) -> None:
        """`batch_max` is how many calls travel together at most."""
        self.client = client
        self._scripts, self._bundle = _shipped()
        self._calls: Coalescer[_Asked, list[Any]] = Coalescer(
            self._run_batch, _whose, batch_max=batch_max
        )

    async def run(
        self,
        script: str,
        redis_keys: Sequence[str],
        arguments: Sequence[Argument],
        echo: HoldId | None = None,
        *,
        is_batched: bool = True,
    ) -> list[Any]:
        """`alone`: takes so long that nobody else should wait for it in the same call."""
        asked = _Asked(script, redis_keys, arguments, echo)
        if not is_batched or len(redis_keys) + len(arguments) > SHARED_MAX:
            reply = await self._run_single(asked)
        else:
            reply = await self._calls.submit(asked)
        answer = [part.decode() if isinstance(part, bytes) else part for part in reply]
        if echo is not None and answer.pop(0) != echo:
            raise HoldStoreUnavailable  # another request's answer: this connection is not to be believed
        if answer == ["EPOCH"]:
            raise EpochMoved
        return answer

    async def _run_batch(
        self, batch: Sequence[_Asked]
    ) -> "list[list[Any] | asyncio.Task[list[Any]]]":
        """One that failed among others is judged by what becomes of it alone, and keeps none waiting."""
        if len(batch) == 1:
            return [await self._run_single(batch[0])]
        replies = await _twice(lambda: self._bundle.run(self.client, batch))
        return [
            reply if reply is not None else asyncio.create_task(self._run_single(asked))
            for asked, reply in zip(batch, replies, strict=True)
        ]

    async def _run_single(self, asked: _Asked) -> list[Any]:
        script = self._scripts[asked.script]
        return await _twice(lambda: script.run(self.client, asked.keys, asked.arguments))

    async def command(self, command: Any) -> Any:
        try:
            return await command
        except WrongIncarnation as error:
            raise EpochMoved from error
        except UNREACHABLE as error:
            raise HoldStoreUnavailable from error


def guard(*, loading: bool) -> str:
    """The key that names the epoch a script may speak for."""
    return keys.LOADING if loading else keys.EPOCH


def row_arguments(row: InventoryRow) -> list[Argument]:
    limits, sold = (",".join(map(str, numbers)) for numbers in (row.limits, row.sold))
    return [row.cabin.value, row.version, limits, sold, row.flight_version]


def unknown_answer(script: str, answer: list[Any]) -> AssertionError:
    return AssertionError(f"{script} answered {answer[:1]}, which its header does not name")


@cache
def _shipped() -> tuple[Mapping[str, Script], Bundle]:
    """Read once for all clients: a guardian makes them each second."""
    scripts = {path.stem: Script(path) for path in sorted(_LUA.glob("*.lua"))}
    return scripts, Bundle(scripts.values())


async def _twice(send: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    for sending in range(1, SENDINGS_MAX + 1):
        try:
            return await send()
        except WrongIncarnation as error:
            raise EpochMoved from error
        except UNREACHABLE as error:
            if sending == SENDINGS_MAX:
                raise HoldStoreUnavailable from error
            await asyncio.sleep(0.01)
    raise AssertionError("unreachable")


def _whose(asked: _Asked) -> object:
    """What asks of one hold keeps its order; the rest has none."""
    return asked.echo if asked.echo is not None else asked
