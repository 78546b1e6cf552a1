"""The typed face of `lua/`: one method a script, its codes turned into the values of `model`.

Every script carries the epoch it is meant for and answers EPOCH in any other; that becomes
`EpochMoved`, which is never a refusal: the caller learns the epoch again and starts over. A call that
got no answer is sent once more with the same id, since every script is idempotent by it; after that
the outcome is unknown and the caller hears `HoldStoreUnavailable`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from app.errors import HoldStoreUnavailable
from app.hold import keys
from app.hold.keys import Keys
from app.hold.model import (
    Extended,
    Fenced,
    Full,
    Glimpse,
    Granted,
    JournalState,
    MemoState,
    Pinned,
    PlaceOutcome,
    Promise,
    Remembered,
    Stale,
    instant_of,
    microseconds,
)
from app.ids import FlightId, HoldId
from app.inventory.model import CabinCounts, CabinName, InventoryRow, SeatLine
from app.storage.lua import Argument, Script
from app.storage.redis import UNREACHABLE, WrongIncarnation

SENDINGS_MAX: Final = 2
TAKE_BACK_MAX: Final = 200
AGAIN_MAX: Final = 50
FENCE_LASTS: Final = timedelta(seconds=10)
_LUA = Path(__file__).parent / "lua"


class EpochMoved(Exception):
    """Redis does not hold the data of the epoch that was named; nothing was done."""


class HoldStore:
    def __init__(self, client: Redis, ttl: timedelta) -> None:
        self._client = client
        self._ttl_us = ttl // timedelta(microseconds=1)
        self._scripts = {path.stem: Script(path) for path in sorted(_LUA.glob("*.lua"))}

    # A hold's life ---------------------------------------------------------------------------

    async def place(
        self,
        epoch: int,
        hold_id: HoldId,
        request: str,
        lines: Sequence[SeatLine],
        versions: Mapping[FlightId, int],
    ) -> PlaceOutcome:
        """All lines or none. `versions` are those of the flights' terms that were priced."""
        names = Keys(epoch)
        redis_keys = [keys.EPOCH, keys.CLOCK, names.memo(hold_id)]
        redis_keys += [names.flight(line.flight_id) for line in lines]
        arguments: list[Argument] = [
            epoch,
            hold_id,
            names.prefix,
            self._ttl_us,
            TAKE_BACK_MAX,
            request,
            pack(lines),
        ]  # fmt: skip - as the script's header lists them
        arguments += [versions[line.flight_id] for line in lines]
        for _ in range(AGAIN_MAX):
            answer = await self._ask("place_hold", redis_keys, arguments, hold_id)
            match answer:
                case ["GRANTED", expires_at, granted_at]:
                    return Granted(_instant(expires_at), _instant(granted_at))
                case ["MEMO", state, expires_at, granted_at, asked]:
                    return Remembered(
                        MemoState(state),
                        _instant_or_none(expires_at),
                        _instant_or_none(granted_at),
                        asked,
                    )
                case ["FULL", next_release_at, *open_seats]:
                    return Full(tuple(map(int, open_seats)), _instant_or_none(next_release_at))
                case ["STALE"]:
                    return Stale()
                case ["FENCED"]:
                    return Fenced()
                case ["AGAIN"]:  # more holds had run out than one call takes back
                    continue
                case _:
                    raise _unknown("place_hold", answer)
        raise HoldStoreUnavailable("Too many holds are running out at once; retry shortly.")

    async def extend(self, epoch: int, hold_id: HoldId) -> Extended | MemoState:
        names = Keys(epoch)
        answer = await self._ask(
            "extend_hold",
            [keys.EPOCH, keys.CLOCK, names.memo(hold_id)],
            [epoch, hold_id, names.prefix, self._ttl_us],
            hold_id,
        )
        match answer:
            case ["EXTENDED", expires_at, now]:
                return Extended(_instant(expires_at), _instant(now))
            case [state]:
                return MemoState(state)
            case _:
                raise _unknown("extend_hold", answer)

    async def pin(self, epoch: int, hold_id: HoldId) -> Pinned | MemoState:
        names = Keys(epoch)
        answer = await self._ask(
            "pin_hold",
            [keys.EPOCH, keys.CLOCK, names.memo(hold_id), names.pinned],
            [epoch, hold_id, names.prefix],
            hold_id,
        )
        match answer:
            case ["PINNED", fence]:
                return Pinned(int(fence))
            case [state]:
                return MemoState(state)
            case _:
                raise _unknown("pin_hold", answer)

    async def unpin(self, epoch: int, hold_id: HoldId, fence: int) -> None:
        """`fence` was raised in the journal, and committed there, before this is called."""
        names = Keys(epoch)
        await self._ask(
            "unpin_hold",
            [keys.EPOCH, names.memo(hold_id), names.pinned],
            [epoch, hold_id, names.prefix, fence],
            hold_id,
        )

    async def finish(
        self, epoch: int, hold_id: HoldId, rows: Sequence[InventoryRow], *, loading: bool = False
    ) -> None:
        """The hold is sold, and `rows` are what Postgres says of its cabins, read with the sale."""
        names = Keys(epoch)
        arguments: list[Argument] = [epoch, hold_id, names.prefix]
        for row in rows:
            arguments += _row_arguments(row)
        await self._ask(
            "finish_hold",
            [_guard(loading), names.memo(hold_id), names.pinned]
            + [names.flight(row.flight_id) for row in rows],
            arguments,
            hold_id,
        )

    async def end(
        self, epoch: int, hold_id: HoldId, state: JournalState, *, loading: bool = False
    ) -> None:
        """The hold is over, as the journal says; leaves a tombstone even for an unknown one."""
        names = Keys(epoch)
        await self._ask(
            "end_hold",
            [_guard(loading), names.memo(hold_id), names.pinned],
            [epoch, hold_id, names.prefix, state.value],
            hold_id,
        )

    async def glimpse(self, epoch: int, hold_ids: Sequence[HoldId]) -> dict[HoldId, Glimpse]:
        """What each hold is, all at one reading of the clock."""
        names = Keys(epoch)
        answer = await self._ask(
            "read_holds", [keys.EPOCH, keys.CLOCK, *map(names.memo, hold_ids)], [epoch]
        )
        now = _instant(answer[1])
        pairs = zip(answer[2::2], answer[3::2], strict=True)
        return {
            hold_id: Glimpse(MemoState(state), _instant_or_none(expires_at), now)
            for hold_id, (state, expires_at) in zip(hold_ids, pairs, strict=True)
        }

    # Inventory -------------------------------------------------------------------------------

    async def counts(
        self, epoch: int, cabins: Sequence[tuple[FlightId, CabinName]]
    ) -> list[CabinCounts | None]:
        """The live numbers of each cabin named, in order; None where Redis does not know it."""
        names = Keys(epoch)
        if not cabins:
            return []
        answer = await self._ask(
            "read_availability",
            [keys.EPOCH, *(names.flight(flight_id) for flight_id, _ in cabins)],
            [epoch, *(cabin.value for _, cabin in cabins)],
        )
        packed = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
        return [
            CabinCounts(_numbers(limits), _numbers(sold), _numbers(held)) if limits else None
            for limits, sold, held in packed
        ]

    async def apply(
        self,
        epoch: int,
        rows: Sequence[InventoryRow],
        *,
        loading: bool = False,
        lift_fence: bool = False,
    ) -> None:
        """Takes over each row iff it is newer than what is here."""
        names = Keys(epoch)
        arguments: list[Argument] = [epoch, int(lift_fence)]
        for row in rows:
            arguments += _row_arguments(row)
        await self._ask(
            "apply_inventory",
            [_guard(loading), *(names.flight(row.flight_id) for row in rows)],
            arguments,
        )

    async def fence(self, epoch: int, flight_id: FlightId) -> bool:
        """Keeps holds off the flight for a moment; False where seats of it are held."""
        names = Keys(epoch)
        for _ in range(AGAIN_MAX):
            answer = await self._ask(
                "fence_flight",
                [keys.EPOCH, keys.CLOCK, names.flight(flight_id)],
                [
                    epoch,
                    flight_id,
                    names.prefix,
                    FENCE_LASTS // timedelta(microseconds=1),
                    TAKE_BACK_MAX,
                ],
            )
            if answer != ["AGAIN"]:
                return bool(answer == ["FENCED"])
        raise HoldStoreUnavailable("Too many holds are running out at once; retry shortly.")

    # Expiry ----------------------------------------------------------------------------------

    async def take_back_expired(self, epoch: int) -> bool:
        """One round over all flights; True where there may be more."""
        names = Keys(epoch)
        answer = await self._ask(
            "expire_holds",
            [keys.EPOCH, keys.CLOCK, names.due],
            [epoch, names.prefix, TAKE_BACK_MAX],
        )
        return bool(int(answer[1]) >= TAKE_BACK_MAX)

    async def taken_back(self, epoch: int) -> list[HoldId]:
        """Some of the holds that scripts took back and the journal may not know of yet."""
        members = await self._send(self._client.srandmember(Keys(epoch).ended, TAKE_BACK_MAX))
        return [HoldId(member.decode()) for member in members]

    async def forget_taken_back(self, epoch: int, hold_ids: Sequence[HoldId]) -> None:
        await self._send(self._client.srem(Keys(epoch).ended, *hold_ids))

    # Loading ---------------------------------------------------------------------------------

    async def begin_loading(self, epoch: int) -> bool:
        """Claims the loading; False where a newer claim was made."""
        answer = await self._ask("begin_loading", [keys.LOADING, keys.EPOCH], [epoch])
        return bool(answer == ["BEGUN"])

    async def load_holds(self, epoch: int, promises: Sequence[Promise]) -> None:
        names = Keys(epoch)
        arguments: list[Argument] = [epoch, names.prefix]
        for promise in promises:
            arguments += [
                promise.hold_id,
                pack(promise.lines),
                microseconds(promise.expires_at),
                microseconds(promise.granted_at),
                promise.fence,
                "1" if promise.extensions_used else "",
                request_digest(promise.request_hash),
            ]
        await self._ask(
            "load_holds",
            [keys.LOADING, *(names.memo(promise.hold_id) for promise in promises)],
            arguments,
        )

    async def open_epoch(self, epoch: int, clock_at_least: datetime) -> None:
        await self._ask(
            "open_epoch",
            [keys.LOADING, keys.EPOCH, keys.CLOCK],
            [epoch, microseconds(clock_at_least)],
        )

    async def open_epoch_number(self) -> int | None:
        number = await self._send(self._client.get(keys.EPOCH))
        return None if number is None else int(number)

    async def discard_other_epochs(self, epoch: int) -> None:
        """Frees the keys of every other life of the data, in small bites."""
        bite: list[bytes] = []
        async for key in self._client.scan_iter(match=keys.TAG + ":*", count=1000):
            of = keys.epoch_of(key.decode())
            if of is not None and of != epoch:
                bite.append(key)
            if len(bite) >= 500:
                await self._send(self._client.unlink(*bite))
                bite.clear()
        if bite:
            await self._send(self._client.unlink(*bite))

    # Sending ---------------------------------------------------------------------------------

    async def _ask(
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
                    self._client, redis_keys, arguments
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

    async def _send(self, command: Any) -> Any:
        try:
            return await command
        except WrongIncarnation as error:
            raise EpochMoved from error
        except UNREACHABLE as error:
            raise HoldStoreUnavailable from error


def pack(lines: Sequence[SeatLine]) -> str:
    """Lines as scripts read them; ids hold neither `|` nor `;`."""
    return ";".join(
        f"{line.flight_id}|{line.cabin.value}|{line.position}|{line.seats}" for line in lines
    )


def request_digest(request_hash: str) -> str:
    """As much of a request's hash as tells two requests with one key apart."""
    return request_hash[:16]


def _guard(loading: bool) -> str:
    return keys.LOADING if loading else keys.EPOCH


def _row_arguments(row: InventoryRow) -> list[Argument]:
    limits, sold = (",".join(map(str, numbers)) for numbers in (row.limits, row.sold))
    return [row.cabin.value, row.version, limits, sold, row.flight_version]


def _numbers(packed: str) -> tuple[int, ...]:
    return tuple(map(int, packed.split(",")))


def _instant(text: str) -> datetime:
    return instant_of(int(text))


def _instant_or_none(text: str) -> datetime | None:
    return _instant(text) if text else None


def _unknown(script: str, answer: list[Any]) -> AssertionError:
    return AssertionError(f"{script} answered {answer[:1]}, which its header does not name")
