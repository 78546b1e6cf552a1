"""Sending scripts: once, and once more where no answer came; and what an answer of EPOCH means.

Every script carries the epoch it is meant for and answers EPOCH in any other; that becomes
`EpochMoved`, which is never a refusal: the caller learns the epoch again and starts over. A call that
got no answer is sent once more with the same arguments, since every script is idempotent by its hold's
id; after that the outcome is unknown and the caller hears `HoldStoreUnavailable`.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from app.errors import HoldStoreUnavailable
from app.hold import keys
from app.ids import HoldId
from app.inventory.model import InventoryRow
from app.storage.lua import Argument, Script
from app.storage.redis import UNREACHABLE, WrongIncarnation

SENDINGS_MAX: Final = 2
_LUA = Path(__file__).parent / "lua"


class EpochMoved(Exception):
    """Redis does not hold the data of the epoch that was named; nothing was done."""


class Scripts:
    def __init__(self, client: Redis) -> None:
        self.client = client
        self._scripts = {path.stem: Script(path) for path in sorted(_LUA.glob("*.lua"))}

    async def ask(
        self,
        script: str,
        redis_keys: Sequence[str],
        arguments: Sequence[Argument],
        echo: HoldId | None = None,
    ) -> list[Any]:
        reply = await self._send_script(script, redis_keys, arguments)
        answer = [part.decode() if isinstance(part, bytes) else part for part in reply]
        if echo is not None and answer.pop(0) != echo:
            raise HoldStoreUnavailable  # another request's answer: this connection is not to be believed
        if answer == ["EPOCH"]:
            raise EpochMoved
        return answer

    async def _send_script(
        self, script: str, redis_keys: Sequence[str], arguments: Sequence[Argument]
    ) -> list[Any]:
        for sending in range(1, SENDINGS_MAX + 1):
            try:
                reply: list[Any] = await self._scripts[script].run(
                    self.client, redis_keys, arguments
                )
            except WrongIncarnation as error:
                raise EpochMoved from error
            except UNREACHABLE as error:
                if sending == SENDINGS_MAX:
                    raise HoldStoreUnavailable from error
                await asyncio.sleep(0.01)
            else:
                return reply
        raise AssertionError("unreachable")

    async def send(self, command: Any) -> Any:
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
