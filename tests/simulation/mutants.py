"""Plausible mistakes, planted one at a time, to show that the simulator finds them.

A mutant replaces the text of a shipped script, the handler of a statement, or a function of the protocol,
and restores it at the end of the block.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from typing import Any, Final
from unittest.mock import patch

from app.hold import placement
from app.hold.epochs import loader, transition
from app.hold.epochs.current import CurrentEpoch
from app.hold.errors import HoldExpired
from app.hold.journal import store as journal
from app.hold.journal.batched import BatchedJournal
from app.hold.pinning import Pins
from app.hold.placement import Placement
from app.hold.redis import scripts
from app.hold.views import original_answer
from app.idempotency.model import Answered
from app.ids import first_id
from app.inventory import store as inventory_store
from app.storage.lua import Bundle
from tests.simulation import redis_server, sql, statements_hold, statements_sale
from tests.simulation.postgres import Transaction
from tests.simulation.redis_client import Client
from tests.simulation.rows import Rows

Plant = Callable[[ExitStack], None]


@contextmanager
def planted(name: str) -> Iterator[None]:
    with ExitStack() as planted_here:
        MUTANTS[name](planted_here)
        yield


def in_lua(old: str, new: str, *names: str) -> Plant:
    """Replace text in the named scripts, or in every script that contains it."""

    def plant(until: ExitStack) -> None:
        shipped, _ = scripts._shipped()
        changed = dict(shipped)
        for name, script in shipped.items():
            if old in script.source and (not names or name in names):
                mutated = changed[name] = copy(script)
                mutated.source = script.source.replace(old, new)
                mutated.digest = redis_server.digest_of(mutated.source)
        assert changed != dict(shipped), f"no script contains {old!r}"
        bundle = Bundle(changed.values())
        redis_server.ship([*(script.source for script in changed.values()), bundle.source])
        until.enter_context(patch.object(scripts, "_shipped", lambda: (changed, bundle)))

    return plant


def in_sql(statement: Any, handler: sql.Handler) -> Plant:
    def plant(until: ExitStack) -> None:
        digest = sql.digest_of(statement.text)
        name, _ = sql.HANDLERS[digest]
        until.enter_context(patch.dict(sql.HANDLERS, {digest: (name, handler)}))

    return plant


def in_python(owner: Any, name: str, new: Any) -> Plant:
    return lambda until: until.enter_context(patch.object(owner, name, new)) and None


def both(*plants: Plant) -> Plant:
    def plant(until: ExitStack) -> None:
        for one in plants:
            one(until)

    return plant


def _confirm_any_token(tx: Transaction, p: Any) -> Rows:
    return statements_hold.confirm_where(tx, p, state=True, token=False)


def _confirm_any_state(tx: Transaction, p: Any) -> Rows:
    return statements_hold.confirm_where(tx, p, state=False, token=True)


def _bump_without_cut(tx: Transaction, _: Any) -> Rows:
    return statements_hold.bump_with(tx, [])


def _bump_over_held(tx: Transaction, _: Any) -> Rows:
    rows = tx.rows("hold_journal")
    return statements_hold.bump_with(tx, [r["granted_at"] for r in rows if r["state"] == "HELD"])


def _bump_by_database_clock(tx: Transaction, _: Any) -> Rows:
    return statements_hold.bump_with(tx, [tx.now()])


def _append_in_present_epoch(tx: Transaction, p: Any) -> Rows:
    return statements_hold.append_rows(tx, p, in_present_epoch=True)


def _publish_any_epoch(tx: Transaction, p: Any) -> Rows:
    tx.lock("redis_epoch", 0)
    row = tx.get("redis_epoch", 0)
    assert row is not None, "one row a shard"
    changed = {"mode": "redis", "incarnation": p["incarnation"], "epoch": p["epoch"]}
    tx.put("redis_epoch", (0,), {**row, **changed})
    return Rows(rowcount=1)


def _sell_without_constraint(tx: Transaction, p: Any) -> Rows:
    return statements_sale.move_seats(tx, p, checks_ceilings=False, is_checked=False)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _same_token(_: Any, __: Any) -> int:
    return 1


async def _answer_first(self: Placement, entry: Any) -> Any:
    asyncio.get_running_loop().create_task(_without_errors(self._journal.append(entry)))
    return Answered(original_answer(entry))


async def _without_errors(work: Any) -> None:
    with suppress(Exception):
        await work


async def _all_written_if_any(self: BatchedJournal, entries: Any) -> Any:
    written = await self._database.run_statement(lambda s: journal.append(s, entries))
    return [bool(written)] * len(entries)


async def _unpin_without_asking(self: Pins, hold: Any) -> None:
    await self._epochs.run(lambda life: life.holds.unpin(hold, 1 << 30))


async def _refused_by_redis(*_: Any) -> Exception:
    return HoldExpired()


_again = itertools.count(1)


def _new_id(tenant: Any, key: str) -> Any:
    return first_id(tenant, f"{key}-{next(_again)}")


async def _no_undo(self: Placement, entry: Any) -> Any:
    async with self._database.reading() as session:
        row = await journal.read(session, entry.hold_id)
    if row is None:
        self._epochs.forget(entry.epoch)
        return placement._Next.SAME_ID
    if row.state.value == "ABORTED":
        return placement._Next.NEXT_ID
    return placement._replay(row, entry.request_hash)


MUTANTS: Final[dict[str, Plant]] = {
    "no epoch check in any script": in_lua(
        "return redis.call('GET', KEYS[1]) == ARGV[1]", "return true"
    ),
    "no incarnation check": in_python(Client, "_check_incarnation", lambda *_: None),
    "unpin without a raised fencing token": both(
        in_lua("tonumber(ARGV[4]) <= tonumber(memo[4])", "tonumber(ARGV[4]) < tonumber(memo[4])"),
        in_python(journal, "raise_fencing_token", _same_token),
    ),
    "unpin without asking the journal": in_python(Pins, "settle", _unpin_without_asking),
    "no fencing token in the WHERE": in_sql(journal._CONFIRM, _confirm_any_token),
    "no state in the WHERE": in_sql(journal._CONFIRM, _confirm_any_state),
    "rebuild without cut": in_sql(transition._BUMP, _bump_without_cut),
    "cut over HELD rows only": in_sql(transition._BUMP, _bump_over_held),
    "cut by PostgreSQL's clock": in_sql(transition._BUMP, _bump_by_database_clock),
    "rebuild without the second reading": in_python(loader.Loader, "correct", _nothing),
    "publish without a WHERE": in_sql(transition._PUBLISH, _publish_any_epoch),
    "rows applied without version": in_lua("tonumber(version) > tonumber(kept[1])", "true"),
    "answer before the journal": in_python(Placement, "_append", _answer_first),
    "release without tombstone": in_lua(
        "redis.call('HSET', KEYS[2], 'state', ARGV[4])\nredis.call('PEXPIRE', KEYS[2], TOMBSTONE_MS)",
        "redis.call('DEL', KEYS[2])",
        "end_hold",
    ),
    "no undo of a late grant": in_python(Placement, "_from_journal", _no_undo),
    "epoch read at INSERT time": in_sql(journal._APPEND, _append_in_present_epoch),
    "batch decided by row count": in_python(BatchedJournal, "_append", _all_written_if_any),
    "retry with a new id": in_python(placement, "first_id", _new_id),
    "expiry by key TTL": in_lua(
        "redis.call('SET', KEYS[2], whole(now))",
        "redis.call('SET', KEYS[2], whole(now)) redis.call('PEXPIRE', KEYS[3], ARGV[4] / 1000)",
        "place_hold",
    ),
    "a grant sets no bit in the key filter": in_lua(
        "\nrecord_granted_keys(prefix, { ARGV[7] }, now)", "\n", "place_hold"
    ),
    "key filter used before it is complete": in_lua(
        "redis.call('EXISTS', prefix .. 'granted:all') == 0", "false"
    ),
    "cached epoch used however old it is": in_python(CurrentEpoch, "is_certain", lambda *_: True),
    "refused on the answer of Redis alone": in_python(Pins, "refusal", _refused_by_redis),
    "constraint removed": in_sql(inventory_store._CHANGE_SOLD, _sell_without_constraint),
}
