"""Handlers of the hold protocol's statements: journal, epoch, gate, lease."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from app.hold.journal.rows import COLUMNS
from app.hold.model import microseconds
from tests.simulation.postgres import Row, Transaction
from tests.simulation.rows import Rows
from tests.simulation.sql import means

Parameters = Mapping[str, Any]
_ENTRY: Final = tuple(COLUMNS.split(", "))
_LIVE: Final = (
    "hold_id",
    "lines",
    "granted_at",
    "expires_at",
    "fence",
    "extensions_used",
    "request_hash",
)
_LONG_AGO: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _epoch(tx: Transaction) -> Row:
    row = tx.get("redis_epoch", 0)
    assert row is not None, "one row a shard"
    return row


def _transition(tx: Transaction) -> Row:
    row = tx.get("epoch_gate", 0)
    assert row is not None, "one row a shard"
    return row


def _prove(tx: Transaction) -> int | None:
    """The open epoch, share-locked; None if the gate is closed or the data is being rebuilt."""
    if _transition(tx)["closing_until"] > tx.now():
        return None
    if _epoch(tx)["mode"] != "redis":
        return None
    tx.lock("redis_epoch", 0, share=True)
    tx.proven = int(_epoch(tx)["epoch"])
    return tx.proven


@means("27c6ed4e0882")
def prove(tx: Transaction, p: Parameters) -> Rows:
    if _epoch(tx)["epoch"] != p["epoch"] or _prove(tx) is None:
        return Rows()
    return Rows([{"epoch": p["epoch"]}])


@means("85d00c08f7a1")
def prove_rebuilding(tx: Transaction, _: Parameters) -> Rows:
    if _epoch(tx)["mode"] == "redis":
        return Rows()
    tx.lock("redis_epoch", 0, share=True)
    return Rows([{"epoch": _epoch(tx)["epoch"]}])


@means("75a28de1fa46")
def append(tx: Transaction, p: Parameters) -> Rows:
    return append_rows(tx, p)


def append_rows(tx: Transaction, p: Parameters, *, in_present_epoch: bool = False) -> Rows:
    proven = _prove(tx)
    rows = sorted(json.loads(p["rows"]), key=lambda row: str(row["hold_id"]))
    if in_present_epoch and proven is not None:
        rows = [{**row, "epoch": proven} for row in rows]
    new = [row for row in rows if row["epoch"] == proven]
    return Rows([{"hold_id": i} for i in insert_entries(tx, new)])


def insert_entries(tx: Transaction, rows: list[dict[str, Any]]) -> list[str]:
    """INSERT … ON CONFLICT DO NOTHING RETURNING hold_id."""
    for row in rows:
        tx.lock("hold_journal", row["hold_id"])
    written = []
    for row in rows:
        if tx.get("hold_journal", row["hold_id"]) is None:
            entry = {**row, "first_expires_at": row["expires_at"], "extensions_used": 0}
            for name in ("granted_at", "expires_at", "first_expires_at"):
                entry[name] = datetime.fromisoformat(entry[name])
            entry["fence"] = 1
            entry["extended_at"] = None
            entry["ended_at"] = tx.now() if row["state"] != "HELD" else None
            tx.put("hold_journal", (row["hold_id"],), entry)
            written.append(row["hold_id"])
    return written


@means("ab4da53609f2")
def read_entry(tx: Transaction, p: Parameters) -> Rows:
    return _one(tx.get("hold_journal", p["hold_id"]))


@means("41e27a2c2d12")
def read_own_entry(tx: Transaction, p: Parameters) -> Rows:
    row = tx.get("hold_journal", p["hold_id"])
    if row is None or row["tenant_id"] != p["tenant_id"] or row["state"] == "ABORTED":
        return Rows()
    return _one(row)


@means("b27fdd72ce8c")
def lock_entry(tx: Transaction, p: Parameters) -> Rows:
    if tx.get("hold_journal", p["hold_id"]) is None:
        return Rows()
    tx.lock("hold_journal", p["hold_id"])
    return _one(tx.get("hold_journal", p["hold_id"]))


@means("6abefa9a3040")
def memo_page(tx: Transaction, p: Parameters) -> Rows:
    page = _held_page(tx, p)
    if not page:
        return Rows([{"packed": None, "granted_at": None}])
    packed = "\n".join(_memo(row, p["digest"]) for row in page)
    return Rows([{"packed": packed, "granted_at": max(row["granted_at"] for row in page)}])


@means("499854ef3686")
def live_among(tx: Transaction, p: Parameters) -> Rows:
    wanted = set(p["hold_ids"])
    found = [row for row in tx.rows("hold_journal") if row["hold_id"] in wanted]
    return Rows([_live(row) for row in found if row["state"] == "HELD"])


@means("cbfb617542ef")
def live_ids(tx: Transaction, p: Parameters) -> Rows:
    ids = [row["hold_id"] for row in _held_page(tx, p)]
    return Rows([{"ids": " ".join(ids) if ids else None}])


@means("d288b91af694")
def read_entries(tx: Transaction, p: Parameters) -> Rows:
    found = [tx.get("hold_journal", hold_id) for hold_id in p["hold_ids"]]
    return Rows([_promised(row) for row in found if row is not None])


@means("ed7b3475443a")
def confirm(tx: Transaction, p: Parameters) -> Rows:
    return confirm_where(tx, p, state=True, token=True)


def confirm_where(tx: Transaction, p: Parameters, *, state: bool, token: bool) -> Rows:
    """`state` and `token` say which of the two the WHERE checks."""
    asked = dict(zip(p["hold_ids"], p["fences"], strict=True))
    _lock_known(tx, asked)
    won = [
        hold_id
        for hold_id, presented in asked.items()
        if leave_held(
            tx, hold_id, "CONFIRMED", token=presented if token else None, held=state
        ).rowcount
    ]
    return Rows([{"hold_id": hold_id} for hold_id in won])


@means("495763b7386d")
def release(tx: Transaction, p: Parameters) -> Rows:
    asked = dict(zip(p["hold_ids"], p["tenant_ids"], strict=True))
    own = [i for i in asked if _is_own(tx.get("hold_journal", i), asked[i])]
    _lock_known(tx, own)
    for hold_id in own:
        leave_held(tx, hold_id, "RELEASED")
    rows = [tx.get("hold_journal", hold_id) for hold_id in own]
    return Rows([{"hold_id": row["hold_id"], "state": row["state"]} for row in rows if row])


@means("00f32056f301")
def expire(tx: Transaction, p: Parameters) -> Rows:
    known = [i for i in p["hold_ids"] if tx.get("hold_journal", i) is not None]
    for hold_id in sorted(known):
        tx.lock("hold_journal", hold_id)
    return Rows(rowcount=sum(leave_held(tx, i, "EXPIRED").rowcount for i in known))


@means("9a6c83114061")
def abort_missing(tx: Transaction, p: Parameters) -> Rows:
    for hold_id in sorted(p["hold_ids"]):
        tx.lock("hold_journal", hold_id)
    missing = [i for i in p["hold_ids"] if tx.get("hold_journal", i) is None]
    for hold_id in missing:
        aborted = {
            "hold_id": hold_id,
            "tenant_id": "",
            "idempotency_key": "",
            "attempt": 0,
            "request_hash": "",
            "client_reference": None,
            "lines": [],
            "segments": [],
            "passengers": json.loads(p["nobody"]),
            "price": json.loads(p["nothing"]),
            "epoch": p["epoch"],
            "granted_at": _LONG_AGO,
            "expires_at": _LONG_AGO,
            "first_expires_at": _LONG_AGO,
            "extensions_used": 0,
            "extended_at": None,
            "fence": 1,
            "state": "ABORTED",
            "ended_at": tx.now(),
        }
        tx.put("hold_journal", (hold_id,), aborted)
    return Rows(rowcount=len(missing))


@means("07b6862e03b5")
def states(tx: Transaction, p: Parameters) -> Rows:
    found = [tx.get("hold_journal", hold_id) for hold_id in p["hold_ids"]]
    return Rows([{"hold_id": row["hold_id"], "state": row["state"]} for row in found if row])


@means("69003f4def34")
def recently_ended(tx: Transaction, p: Parameters) -> Rows:
    since = tx.now() - timedelta(seconds=p["seconds"])
    found = [
        row
        for row in tx.rows("hold_journal")
        if row["ended_at"] is not None
        and row["ended_at"] > since
        and row["state"] in ("RELEASED", "EXPIRED", "ABORTED")
    ]
    found.sort(key=lambda row: row["ended_at"])
    return Rows([{"hold_id": r["hold_id"], "state": r["state"]} for r in found[: p["count"]]])


@means("5a223068bd93")
def recently_granted(tx: Transaction, p: Parameters) -> Rows:
    since = max(tx.now() - timedelta(hours=25), p["granted_at"])
    every = tx.rows("hold_journal")
    found = [row for row in every if row["granted_at"] >= since]
    found.sort(key=lambda row: row["granted_at"])
    page = found[: p["count"]]
    firsts = [row["hold_id"] for row in page if row["attempt"] == 1]
    others = [[r["tenant_id"], r["idempotency_key"]] for r in page if r["attempt"] != 1]
    last = page[-1]["granted_at"] if page else None
    packed = {"firsts": " ".join(firsts) or None, "others": others or None}
    return Rows([{**packed, "rows": len(page), "last": last}])


@means("2391601d79d8")
def extend(tx: Transaction, p: Parameters) -> Rows:
    asked = list(zip(p["hold_ids"], p["tenant_ids"], p["expire_at"], strict=True))
    own = [one for one in asked if _is_own(tx.get("hold_journal", one[0]), one[1])]
    _lock_known(tx, [hold_id for hold_id, _, _ in own])
    extended = []
    for hold_id, _, expires_at in own:
        row = tx.get("hold_journal", hold_id)
        if row is not None and row["state"] == "HELD" and row["extensions_used"] == 0:
            changes = {
                "expires_at": expires_at,
                "extensions_used": 1,
                "extended_at": tx.now(),
            }
            tx.put("hold_journal", (hold_id,), {**row, **changes})
            extended.append(hold_id)
    return Rows([{"hold_id": hold_id} for hold_id in extended])


@means("87c7fab48294")
def newest_grants(tx: Transaction, p: Parameters) -> Rows:
    rows = sorted(tx.rows("hold_journal"), key=lambda row: row["granted_at"], reverse=True)
    near: dict[str, Row] = {}
    for step in range(8):
        if rows:
            until = rows[0]["granted_at"] - step * timedelta(milliseconds=250)
            found = [row for row in rows if row["granted_at"] <= until][:8]
            near |= {row["hold_id"]: row for row in found}
    return Rows(
        [
            {name: row[name] for name in ("hold_id", "granted_at", "expires_at")}
            for row in near.values()
            if row["state"] == "HELD" and row["epoch"] == p["epoch"]
        ]
    )


@means("e2123d1f3d00")
def raise_token(tx: Transaction, p: Parameters) -> Rows:
    if tx.get("hold_journal", p["hold_id"]) is None:
        return Rows()
    tx.lock("hold_journal", p["hold_id"])
    row = tx.get("hold_journal", p["hold_id"])
    assert row is not None, "retention does not delete rows of recent holds"
    tx.put("hold_journal", (p["hold_id"],), {**row, "fence": row["fence"] + 1})
    return Rows([{"fence": row["fence"] + 1}])


@means("9d424bfe9a87")
def read_epoch(tx: Transaction, _: Parameters) -> Rows:
    row = _epoch(tx)
    is_suspected = {"is_suspected": _transition(tx)["away_since"] is not None}
    known = {name: row[name] for name in ("epoch", "incarnation", "mode", "cut")}
    return Rows([known | is_suspected])


@means("27a98767838c")
def raise_suspicion(tx: Transaction, p: Parameters) -> Rows:
    tx.lock("epoch_gate", 0)
    gate = _transition(tx)
    since = gate["away_since"] or tx.now()
    tx.put("epoch_gate", (0,), {**gate, "away_since": since})
    return Rows([{"?column?": since <= tx.now() - timedelta(seconds=p["seconds"])}])


@means("05342665de80")
def clear_suspicion(tx: Transaction, _: Parameters) -> Rows:
    if _transition(tx)["away_since"] is None:
        return Rows(rowcount=0)
    tx.lock("epoch_gate", 0)
    tx.put("epoch_gate", (0,), {**_transition(tx), "away_since": None})
    return Rows(rowcount=1)


@means("a2fecc0372e6")
def may_idle(tx: Transaction, _: Parameters) -> Rows:
    tx.idle_max = 15_000_000
    return Rows()


@means("27dcf7541676")
def short_lock_timeout(tx: Transaction, _: Parameters) -> Rows:
    tx.lock_max = 200_000
    return Rows()


@means("f1bd5d1df07b")
def take_lease(tx: Transaction, p: Parameters) -> Rows:
    def is_free(gate: Row) -> bool:
        until = gate["rebuilder_until"]
        return gate["rebuilder"] in (None, p["who"]) or (until is not None and until < tx.now())

    if not is_free(_transition(tx)):
        return Rows()
    tx.lock("epoch_gate", 0)
    if not is_free(_transition(tx)):
        return Rows()
    until = tx.now() + timedelta(seconds=p["seconds"])
    tx.put("epoch_gate", (0,), {**_transition(tx), "rebuilder": p["who"], "rebuilder_until": until})
    return Rows([{"shard": 0}])


@means("443fd9800a2e")
def drop_lease(tx: Transaction, p: Parameters) -> Rows:
    return _of_rebuilder(tx, p["who"], rebuilder=None, closing_until=_LONG_AGO)


@means("d20953b275bf")
def close_gate(tx: Transaction, p: Parameters) -> Rows:
    return _of_rebuilder(tx, p["who"], closing_until=tx.now() + timedelta(seconds=3))


@means("c9f076052c02")
def open_gate(tx: Transaction, p: Parameters) -> Rows:
    return _of_rebuilder(tx, p["who"], closing_until=_LONG_AGO)


@means("52c2d5e6111a")
def lock_epoch(tx: Transaction, _: Parameters) -> Rows:
    tx.lock("redis_epoch", 0)
    return Rows([{"epoch": _epoch(tx)["epoch"]}])


@means("0caec9c2c64e")
def bump(tx: Transaction, _: Parameters) -> Rows:
    return bump_with(tx, [row["granted_at"] for row in tx.rows("hold_journal")])


def bump_with(tx: Transaction, grants: list[datetime]) -> Rows:
    tx.lock("redis_epoch", 0)
    row = _epoch(tx)
    new = {
        **row,
        "epoch": row["epoch"] + 1,
        "mode": "rebuilding",
        "bumped_at": tx.now(),
        "cut": max(row["cut"], *grants) if grants else row["cut"],
    }
    tx.put("redis_epoch", (0,), new)
    return Rows([{"epoch": new["epoch"], "cut": new["cut"]}])


@means("749d4ab62015")
def expire_before_cut(tx: Transaction, p: Parameters) -> Rows:
    held = [row for row in tx.rows("hold_journal") if row["state"] == "HELD"]
    page = [row for row in held if row["hold_id"] > p["after"]][: p["count"]]
    ran_out = [row["hold_id"] for row in page if row["expires_at"] <= p["cut"]]
    _lock_known(tx, ran_out)
    for hold_id in ran_out:
        leave_held(tx, hold_id, "EXPIRED")
    return Rows([{"max": max((row["hold_id"] for row in page), default=None)}])


@means("c36cd80a3bcd")
def publish(tx: Transaction, p: Parameters) -> Rows:
    def fits() -> bool:
        return bool(_epoch(tx)["epoch"] == p["epoch"] and _epoch(tx)["mode"] == "rebuilding")

    if not fits():
        return Rows(rowcount=0)
    tx.lock("redis_epoch", 0)
    if not fits():
        return Rows(rowcount=0)
    new = {**_epoch(tx), "mode": "redis", "incarnation": p["incarnation"]}
    tx.put("redis_epoch", (0,), new)
    return Rows(rowcount=1)


def _held_page(tx: Transaction, p: Parameters) -> list[Row]:
    found = [row for row in tx.rows("hold_journal") if row["hold_id"] > p["hold_id"]]
    return [row for row in found if row["state"] == "HELD"][: p["count"]]


def _memo(row: Row, digest: int) -> str:
    lines = ";".join("|".join(map(str, line)) for line in row["lines"])
    times = [str(microseconds(row[name])) for name in ("expires_at", "granted_at")]
    rest = [str(row["fence"]), str(row["extensions_used"]), row["request_hash"][:digest]]
    return " ".join([row["hold_id"], lines, *times, *rest])


def _lock_known(tx: Transaction, hold_ids: Iterable[str]) -> None:
    for hold_id in sorted(hold_ids):
        if tx.get("hold_journal", hold_id) is not None:
            tx.lock("hold_journal", hold_id)


def _is_own(row: Row | None, tenant_id: str) -> bool:
    return row is not None and row["tenant_id"] == tenant_id


def leave_held(
    tx: Transaction,
    hold_id: str,
    state: str,
    *,
    token: int | None = None,
    held: bool = True,
) -> Rows:
    """UPDATE … SET state WHERE state = 'HELD' and more, evaluated again after a wait for a lock."""

    def fits(row: Row | None) -> bool:
        return (
            row is not None
            and (not held or row["state"] == "HELD")
            and (token is None or row["fence"] == token)
        )

    if not fits(tx.get("hold_journal", hold_id)):
        return Rows(rowcount=0)
    tx.lock("hold_journal", hold_id)
    row = tx.get("hold_journal", hold_id)
    if row is None or not fits(row):
        return Rows(rowcount=0)
    tx.put("hold_journal", (hold_id,), {**row, "state": state, "ended_at": tx.now()})
    return Rows(rowcount=1)


def _of_rebuilder(tx: Transaction, who: str, **changes: Any) -> Rows:
    if _transition(tx)["rebuilder"] != who:
        return Rows(rowcount=0)
    tx.lock("epoch_gate", 0)
    if _transition(tx)["rebuilder"] != who:
        return Rows(rowcount=0)
    tx.put("epoch_gate", (0,), {**_transition(tx), **changes})
    return Rows(rowcount=1)


def _one(row: Row | None) -> Rows:
    return Rows() if row is None else Rows([_promised(row)])


def _promised(row: Row) -> Row:
    return {name: row[name] for name in _ENTRY}


def _live(row: Row) -> Row:
    return {name: row[name] for name in _LIVE}
