"""Runs scripts: in batches, with one retry if no answer comes, and with the epoch check.

Script calls of concurrent requests travel as one call (app/concurrency/coalescer.py), in which each runs as
if it had been sent by itself. Every script names its epoch and answers EPOCH in any other; that becomes
`EpochMoved`, which is never a refusal: the caller reads the epoch again and starts over. A call without an
answer is sent a second time with the same arguments, since every script is idempotent by its hold's id;
after that the outcome is unknown, and the caller gets `HoldStoreUnavailable`.
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

ATTEMPTS_MAX: Final = 2
SHARED_MAX: Final = 100  # keys and arguments; a call that has more is sent by itself
_LUA = Path(__file__).parent / "lua"


class EpochMoved(Exception):
    """Redis does not have the data of the epoch that was named; nothing was done."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call(Call):
    echo: HoldId | None


class Scripts:
    def __init__(self, client: Redis, *, batch_max: int = BATCH_MAX) -> None:
        """`batch_max` is the most calls in one batch."""
        self.client = client
        self._scripts, self._bundle = _shipped()
        self._calls: Coalescer[_Call, list[Any]] = Coalescer(
            self._run_batch, _order_key, batch_max=batch_max
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
        """`is_batched` is False for a script so long that no request should wait for it in its batch."""
        call = _Call(script, redis_keys, arguments, echo)
        if not is_batched or len(redis_keys) + len(arguments) > SHARED_MAX:
            reply = await self._run_single(call)
        else:
            reply = await self._calls.submit(call)
        answer = [part.decode() if isinstance(part, bytes) else part for part in reply]
        if echo is not None and answer.pop(0) != echo:
            raise HoldStoreUnavailable  # another request's answer: the connection is out of step
        if answer == ["EPOCH"]:
            raise EpochMoved
        return answer

    async def _run_batch(
        self, batch: Sequence[_Call]
    ) -> "list[list[Any] | asyncio.Task[list[Any]]]":
        """Answers of one batch; a call that failed in it runs again by itself, and the others do not wait."""
        if len(batch) == 1:
            return [await self._run_single(batch[0])]
        replies = await _with_retry(lambda: self._bundle.run(self.client, batch))
        return [
            reply if reply is not None else asyncio.create_task(self._run_single(call))
            for call, reply in zip(batch, replies, strict=True)
        ]

    async def _run_single(self, call: _Call) -> list[Any]:
        script = self._scripts[call.script]
        return await _with_retry(lambda: script.run(self.client, call.keys, call.arguments))

    async def command(self, command: Any) -> Any:
        try:
            return await command
        except WrongIncarnation as error:
            raise EpochMoved from error
        except UNREACHABLE as error:
            raise HoldStoreUnavailable from error


def epoch_check(*, loading: bool) -> str:
    """The key that a script compares with its epoch."""
    return keys.LOADING if loading else keys.EPOCH


def row_arguments(row: InventoryRow) -> list[Argument]:
    limits, sold = (",".join(map(str, numbers)) for numbers in (row.limits, row.sold))
    return [row.cabin.value, row.version, limits, sold, row.flight_version]


def unknown_answer(script: str, answer: list[Any]) -> AssertionError:
    return AssertionError(f"{script} answered {answer[:1]}, which its header does not name")


@cache
def _shipped() -> tuple[Mapping[str, Script], Bundle]:
    """All scripts, read once: the recovery guardian makes a client every second."""
    scripts = {path.stem: Script(path) for path in sorted(_LUA.glob("*.lua"))}
    return scripts, Bundle(scripts.values())


async def _with_retry(send: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return await send()
        except WrongIncarnation as error:
            raise EpochMoved from error
        except UNREACHABLE as error:
            if attempt == ATTEMPTS_MAX:
                raise HoldStoreUnavailable from error
            await asyncio.sleep(0.01)
    raise AssertionError("unreachable")


def _order_key(call: _Call) -> object:
    """Calls about one hold keep their order; other calls have none."""
    return call.echo if call.echo is not None else call
