"""The scripts that move a hold, typed: one method for each, and their codes as values."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from app.errors import HoldStoreUnavailable
from app.hold.model import (
    DIGEST_LENGTH,
    Blocked,
    Extended,
    Full,
    Granted,
    JournalState,
    MemoReading,
    MemoState,
    Pinned,
    PlaceOutcome,
    Remembered,
    Stale,
    instant_of,
)
from app.hold.redis import keys
from app.hold.redis.keys import Keys, mark_of
from app.hold.redis.scripts import Scripts, epoch_check, row_arguments, unknown_answer
from app.ids import FlightId, HoldId
from app.inventory.model import InventoryRow, SeatLine
from app.storage.lua import Argument

EXPIRE_MAX: Final = 200  # holds that one call expires
AGAIN_MAX: Final = 50  # calls, if more holds have expired than one call handles


class RedisHolds:
    def __init__(self, scripts: Scripts, names: Keys, ttl: timedelta) -> None:
        self._scripts = scripts
        self._keys = names
        self._ttl_us = ttl // timedelta(microseconds=1)

    async def place(
        self,
        hold_id: HoldId,
        first: HoldId,
        request: str,
        lines: Sequence[SeatLine],
        versions: Mapping[FlightId, int],
    ) -> PlaceOutcome:
        """Holds all lines or none.

        `first` is the id of the idempotency key's first attempt; `versions` are those of the flights that
        were priced.
        """
        redis_keys = [keys.EPOCH, keys.CLOCK, self._keys.memo(hold_id), self._keys.fresh]
        redis_keys += [self._keys.flight(line.flight_id) for line in lines]
        arguments: list[Argument] = [
            self._keys.epoch,
            hold_id,
            self._keys.prefix,
            self._ttl_us,
            EXPIRE_MAX,
            request,
            mark_of(first),
            pack(lines),
        ]  # fmt: skip - as the script's header lists them
        arguments += [versions[line.flight_id] for line in lines]
        for _ in range(AGAIN_MAX):
            answer = await self._scripts.run("place_hold", redis_keys, arguments, hold_id)
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
                case ["FULL", key, next_release_at, *open_seats]:
                    return Full(
                        tuple(map(int, open_seats)), _instant_or_none(next_release_at), key == "NEW"
                    )
                case ["STALE"]:
                    return Stale()
                case ["BLOCKED"]:
                    return Blocked()
                case ["AGAIN"]:  # more holds have expired than one call handles
                    continue
                case _:
                    raise unknown_answer("place_hold", answer)
        raise HoldStoreUnavailable("Too many holds expire at once; retry shortly.")

    async def extend(self, hold_id: HoldId) -> Extended | MemoState:
        answer = await self._scripts.run(
            "extend_hold",
            [keys.EPOCH, keys.CLOCK, self._keys.memo(hold_id)],
            [self._keys.epoch, hold_id, self._keys.prefix, self._ttl_us],
            hold_id,
        )
        match answer:
            case ["EXTENDED", expires_at, now]:
                return Extended(_instant(expires_at), _instant(now))
            case [state]:
                return MemoState(state)
            case _:
                raise unknown_answer("extend_hold", answer)

    async def pin(self, hold_id: HoldId) -> Pinned | MemoState:
        answer = await self._scripts.run(
            "pin_hold",
            [keys.EPOCH, keys.CLOCK, self._keys.memo(hold_id), self._keys.pinned],
            [self._keys.epoch, hold_id, self._keys.prefix],
            hold_id,
        )
        match answer:
            case ["PINNED", token]:
                return Pinned(int(token))
            case [state]:
                return MemoState(state)
            case _:
                raise unknown_answer("pin_hold", answer)

    async def unpin(self, hold_id: HoldId, token: int) -> None:
        """Makes a pinned hold HELD again; `token` was raised in the journal and committed before this call."""
        await self._scripts.run(
            "unpin_hold",
            [keys.EPOCH, self._keys.memo(hold_id), self._keys.pinned],
            [self._keys.epoch, hold_id, self._keys.prefix, token],
            hold_id,
        )

    async def finish(
        self, hold_id: HoldId, rows: Sequence[InventoryRow], *, loading: bool = False
    ) -> None:
        """Marks the hold as sold; `rows` are its cabins in Postgres, read in the transaction of the sale."""
        arguments: list[Argument] = [self._keys.epoch, hold_id, self._keys.prefix]
        for row in rows:
            arguments += row_arguments(row)
        await self._scripts.run(
            "finish_hold",
            [epoch_check(loading=loading), self._keys.memo(hold_id), self._keys.pinned]
            + [self._keys.flight(row.flight_id) for row in rows],
            arguments,
            hold_id,
        )

    async def end(self, hold_id: HoldId, state: JournalState, *, loading: bool = False) -> None:
        """Ends the hold in the state that the journal has; leaves a tombstone even for an unknown one."""
        await self._scripts.run(
            "end_hold",
            [epoch_check(loading=loading), self._keys.memo(hold_id), self._keys.pinned],
            [self._keys.epoch, hold_id, self._keys.prefix, state.value],
            hold_id,
        )

    async def read_memos(self, hold_ids: Sequence[HoldId]) -> dict[HoldId, MemoReading]:
        """The state of each hold, all at one reading of the clock."""
        answer = await self._scripts.run(
            "read_holds",
            [keys.EPOCH, keys.CLOCK, *map(self._keys.memo, hold_ids)],
            [self._keys.epoch],
        )
        now = _instant(answer[1])
        pairs = zip(answer[2::2], answer[3::2], strict=True)
        return {
            hold_id: MemoReading(MemoState(state), _instant_or_none(expires_at), now)
            for hold_id, (state, expires_at) in zip(hold_ids, pairs, strict=True)
        }

    async def expire_due(self) -> bool:
        """Expires holds of all flights, at most EXPIRE_MAX; True if there may be more."""
        answer = await self._scripts.run(
            "expire_holds",
            [keys.EPOCH, keys.CLOCK, self._keys.due],
            [self._keys.epoch, self._keys.prefix, EXPIRE_MAX],
        )
        return bool(int(answer[1]) >= EXPIRE_MAX)

    async def unrecorded_expiries(self) -> list[HoldId]:
        """Some of the holds that expired in Redis and are perhaps not EXPIRED in the journal yet."""
        members = await self._scripts.command(
            self._scripts.client.srandmember(self._keys.ended, EXPIRE_MAX)
        )
        return [HoldId(member.decode()) for member in members]

    async def pinned_longer_than(self, pinned_for: timedelta) -> list[HoldId]:
        """Some of the holds that have been pinned for at least so long, oldest first."""
        return await self._older_than(self._keys.pinned, pinned_for)

    async def unverified_grants(self, granted_for: timedelta) -> list[HoldId]:
        """Some of the holds granted so long ago that their journal rows must be there, oldest first."""
        return await self._older_than(self._keys.fresh, granted_for)

    async def forget_verified(self, hold_ids: Sequence[HoldId]) -> None:
        await self._scripts.command(self._scripts.client.zrem(self._keys.fresh, *hold_ids))

    async def _older_than(self, key: str, age: timedelta) -> list[HoldId]:
        seconds, rest = await self._scripts.command(self._scripts.client.time())
        before = seconds * 1_000_000 + rest - age // timedelta(microseconds=1)
        members = await self._scripts.command(
            self._scripts.client.zrangebyscore(key, "-inf", before, 0, EXPIRE_MAX)
        )
        return [HoldId(member.decode()) for member in members]

    async def forget_expired(self, hold_ids: Sequence[HoldId]) -> None:
        """Stops tracking holds that the journal has as EXPIRED; their memos become tombstones."""
        await self._scripts.run(
            "forget_expired",
            [keys.EPOCH, self._keys.ended, *map(self._keys.memo, hold_ids)],
            [self._keys.epoch, *hold_ids],
        )


def pack(lines: Sequence[SeatLine]) -> str:
    """Lines in the form that scripts read; ids contain neither `|` nor `;`."""
    return ";".join(
        f"{line.flight_id}|{line.cabin.value}|{line.position}|{line.seats}" for line in lines
    )


def request_digest(request_hash: str) -> str:
    """A prefix of the hash, long enough to distinguish two requests with one idempotency key."""
    return request_hash[:DIGEST_LENGTH]


def _instant(text: str) -> datetime:
    return instant_of(int(text))


def _instant_or_none(text: str) -> datetime | None:
    return _instant(text) if text else None
