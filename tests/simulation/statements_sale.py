"""Handlers of the other statements: inventory, flights, bookings, outbox, idempotency records."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from itertools import accumulate
from typing import Any

from tests.simulation.postgres import Row, Transaction, refused
from tests.simulation.rows import Rows
from tests.simulation.sql import means

Parameters = Mapping[str, Any]


@means("ea9dfe92a9d5")
def move(tx: Transaction, p: Parameters) -> Rows:
    return move_seats(tx, p, checks_ceilings=p["guarded"], is_checked=True)


def move_seats(tx: Transaction, p: Parameters, *, checks_ceilings: bool, is_checked: bool) -> Rows:
    """Seats are summed by class; ceilings are checked for the nested classes whose count grows."""
    asked: dict[tuple[str, str], dict[int, int]] = {}
    columns = (p["flight_ids"], p["cabins"], p["positions"], p["seats"])
    for flight_id, cabin, position, seats in zip(*columns, strict=True):
        of_cabin = asked.setdefault((flight_id, cabin), {})
        of_cabin[position] = of_cabin.get(position, 0) + seats
    known = [key for key in sorted(asked) if tx.get("inventory", *key) is not None]
    for key in known:
        tx.lock("inventory", *key)
    moved = []
    for key in known:
        row = tx.get("inventory", *key)
        assert row is not None, "cabins are removed only while their flight is locked"
        by = asked[key]
        sold = [was + by.get(place, 0) for place, was in enumerate(row["sold"], start=1)]
        from_here_down = list(accumulate(reversed(sold)))[::-1]
        judged = list(zip(from_here_down, row["ceilings"], strict=True))[: max(by)]
        if checks_ceilings and any(count > most for count, most in judged):
            continue
        total = row["sold_total"] + sum(by[place] for place in by if place <= len(sold))
        if is_checked and not 0 <= total <= row["ceiling_total"]:
            raise refused("23514", "violates check constraint no_oversell")
        changed = {**row, "sold": sold, "sold_total": total, "version": row["version"] + 1}
        tx.put("inventory", key, changed)
        moved.append(_inventory_row(tx, changed))
    return Rows(moved)


@means("efe9c4373d04")
def ceilings_above_limit(tx: Transaction, p: Parameters) -> Rows:
    def is_above_limit(row: Row) -> bool:
        sold = list(accumulate(reversed(row["sold"])))[::-1]
        levels = zip(row["ceilings"], row["limits"], sold, strict=True)
        return any(ceiling > max(limit, taken) for ceiling, limit, taken in levels)

    found = [
        {"flight_id": row["flight_id"], "cabin": row["cabin"]}
        for row in tx.rows("inventory")
        if (row["flight_id"], row["cabin"]) > (p["flight_id"], p["cabin"])
        and row["ceilings"] != row["limits"]
        and is_above_limit(row)
    ]
    return Rows(found[: p["count"]])


@means("48216924e92d")
def reduce_ceiling(tx: Transaction, p: Parameters) -> Rows:
    key = (p["flight_id"], p["cabin"])

    def lower(row: Row | None) -> list[int] | None:
        if row is None or row["version"] != p["version"] or len(row["limits"]) != len(p["taken"]):
            return None
        taken = list(accumulate(reversed(p["taken"])))[::-1]
        levels = zip(row["ceilings"], row["limits"], taken, strict=True)
        ceilings = [min(ceiling, max(limit, count)) for ceiling, limit, count in levels]
        return None if ceilings == row["ceilings"] else ceilings

    if lower(tx.get("inventory", *key)) is None:
        return Rows(rowcount=0)
    tx.lock("inventory", *key)
    row = tx.get("inventory", *key)
    ceilings = lower(row)
    if row is None or ceilings is None:
        return Rows(rowcount=0)
    if row["sold_total"] > ceilings[0]:
        raise refused("23514", "violates check constraint no_oversell")
    tx.put("inventory", key, {**row, "ceilings": ceilings, "ceiling_total": ceilings[0]})
    return Rows(rowcount=1)


@means("bd34c40137d8")
def rows_of_flights(tx: Transaction, p: Parameters) -> Rows:
    wanted = set(p["flight_ids"])
    return Rows(
        [_inventory_row(tx, row) for row in tx.rows("inventory") if row["flight_id"] in wanted]
    )


@means("2cb0d288580a")
def rows_page(tx: Transaction, p: Parameters) -> Rows:
    after, until = (p["flight_id"], p["cabin"]), (p["last_flight_id"], p["last_cabin"])
    found = [
        _inventory_row(tx, row)
        for row in tx.rows("inventory")
        if after < (row["flight_id"], row["cabin"]) <= until
        and _flight(tx, row)["departing_utc"] > p["since"]
    ]
    return Rows(found[: p["count"]])


@means("94f8c4d056cc")
def packed_page(tx: Transaction, p: Parameters) -> Rows:
    names = ("flight_id", "cabin", "version", "limits", "sold", "flight_version")
    lines = ["|".join(_packed(row[name]) for name in names) for row in rows_page(tx, p).values]
    return Rows([{"packed": "\n".join(lines) if lines else None}])


@means("5603bbdd1671")
def read_flights(tx: Transaction, p: Parameters) -> Rows:
    of_flight = ("departing_local", "departing_time_zone", "departing_utc")
    of_arrival = ("arriving_local", "arriving_time_zone", "arriving_utc")
    identity = ("flight_id", "carrier", "flight_number", "origin", "destination")
    of_cabin = ("cabin", "capacity", "currency", "booking_classes", "fares", "limits")
    wanted = set(p["flight_ids"])
    rows = [row for row in tx.rows("inventory") if row["flight_id"] in wanted]
    rows.sort(key=lambda row: (row["flight_id"], row["rank"]))
    return Rows(
        [
            {
                name: _flight(tx, row)[name]
                for name in (*identity, *of_flight, *of_arrival, "version")
            }
            | {name: row[name] for name in of_cabin}
            for row in rows
        ]
    )


@means("f8fc9daed3c2")
def lock_flight(tx: Transaction, p: Parameters) -> Rows:
    if tx.get("flights", p["flight_id"]) is None:
        return Rows()
    tx.lock("flights", p["flight_id"])
    row = tx.get("flights", p["flight_id"])
    return Rows() if row is None else Rows([{"event_sequence": row["event_sequence"]}])


@means("c60b4ef0f85a")
def lock_inventory(tx: Transaction, p: Parameters) -> Rows:
    keys = [
        (row["flight_id"], row["cabin"])
        for row in tx.rows("inventory")
        if row["flight_id"] == p["flight_id"]
    ]
    for key in keys:
        tx.lock("inventory", *key)
    rows = [tx.get("inventory", *key) for key in keys]
    return Rows([{"sold_total": r["sold_total"], "version": r["version"]} for r in rows if r])


@means("d3e5b6c48412")
def change_cabin(tx: Transaction, p: Parameters) -> Rows:
    key = (p["flight_id"], p["cabin"])
    if tx.get("inventory", *key) is None:
        return Rows(rowcount=0)
    tx.lock("inventory", *key)
    row = tx.get("inventory", *key)
    assert row is not None, "cabins leave only while their flight is locked"
    ceilings = [max(c, n) for c, n in zip(row["ceilings"], p["limits"], strict=True)]
    changed = {
        **row,
        "capacity": p["capacity"],
        "limits": list(p["limits"]),
        "fares": list(p["fares"]),
        "currency": p["currency"],
        "ceilings": ceilings,
        "ceiling_total": ceilings[0],
        "version": row["version"] + 1,
    }
    if changed["sold_total"] > changed["ceiling_total"]:
        raise refused("23514", "violates check constraint no_oversell")
    tx.put("inventory", key, changed)
    return Rows(rowcount=1)


@means("d5478be2180c")
def count_change(tx: Transaction, p: Parameters) -> Rows:
    if tx.get("flights", p["flight_id"]) is None:
        return Rows(rowcount=0)
    tx.lock("flights", p["flight_id"])
    row = tx.get("flights", p["flight_id"])
    assert row is not None, "flights are never deleted"
    counted = {"version": row["version"] + 1, "event_sequence": row["event_sequence"] + 1}
    tx.put("flights", (p["flight_id"],), {**row, **counted})
    return Rows(rowcount=1)


@means("77c1fde64caa")
def read_bookings(tx: Transaction, p: Parameters) -> Rows:
    found = [
        row
        for tenant_id, booking_id in p["asked"]
        if (row := tx.get("bookings", booking_id)) is not None and row["tenant_id"] == tenant_id
    ]
    return Rows(found)


@means("b9ed50c61c5b")
def bookings_with_references(tx: Transaction, p: Parameters) -> Rows:
    asked = set(zip(p["tenant_ids"], p["client_references"], strict=True))
    names = ("tenant_id", "client_reference", "booking_id")
    return Rows(
        [
            {name: row[name] for name in names}
            for row in tx.rows("bookings")
            if (row["tenant_id"], row["client_reference"]) in asked
        ]
    )


@means("d124832053ba")
def add_bookings(tx: Transaction, p: Parameters) -> Rows:
    """ON CONFLICT DO NOTHING, for any of the unique keys."""
    rows = sorted(json.loads(p["bookings"]), key=lambda row: str(row["booking_id"]))
    for row in rows:
        for name, value in sorted(_unique(row), key=lambda one: one[0]):
            tx.lock(name, value)
    taken = {key for row in tx.rows("bookings") for key in _unique(row)}
    added = []
    for row in rows:
        if taken.isdisjoint(_unique(row)):
            taken.update(_unique(row))
            created_at = datetime.fromisoformat(row["created_at"])
            new = {**row, "created_at": created_at, "cancelled_at": None}
            tx.put("bookings", (row["booking_id"],), new)
            added.append({"booking_id": row["booking_id"]})
    return Rows(added)


@means("ed5c5ab220dd")
def add_passengers(tx: Transaction, p: Parameters) -> Rows:
    rows = json.loads(p["passengers"])
    for row in rows:
        born_on = date.fromisoformat(row["born_on"])
        key = (row["booking_id"], row["place"])
        tx.put("booking_passengers", key, {**row, "born_on": born_on})
    return Rows(rowcount=len(rows))


@means("c73ea62a6072")
def passengers_of(tx: Transaction, p: Parameters) -> Rows:
    wanted = set(p["booking_ids"])
    return Rows([row for row in tx.rows("booking_passengers") if row["booking_id"] in wanted])


@means("b174a68f93e9")
def cancel_bookings(tx: Transaction, p: Parameters) -> Rows:
    asked = sorted(zip(p["booking_ids"], p["tenant_ids"], strict=True))
    own = []
    for booking_id, tenant_id in asked:
        row = tx.get("bookings", booking_id)
        if row is not None and row["tenant_id"] == tenant_id:
            own.append(booking_id)
    for booking_id in own:
        tx.lock("bookings", booking_id)
    cancelled = []
    for booking_id in own:
        row = tx.get("bookings", booking_id)
        if row is not None and row["status"] == "confirmed":
            changes = {
                "status": "cancelled",
                "version": row["version"] + 1,
                "cancelled_at": max(p["now"], row["created_at"]),
            }
            tx.put("bookings", (booking_id,), {**row, **changes})
            cancelled.append({"booking_id": booking_id})
    return Rows(cancelled)


@means("8acb57b2f781")
def append_facts(tx: Transaction, p: Parameters) -> Rows:
    rows = sorted(json.loads(p["facts"]), key=lambda row: str(row["event_id"]))
    for row in rows:
        tx.lock("outbox", row["event_id"])
        tx.lock("outbox.sequence", _sequence(row))
    taken = {_sequence(row) for row in tx.rows("outbox")}
    for row in rows:
        if _sequence(row) in taken or tx.get("outbox", row["event_id"]) is not None:
            raise refused("23505", "duplicate key value violates unique constraint")
        empty = {"position": None, "published_at": None, "attempts": 0, "retry_at": None}
        occurred_at = datetime.fromisoformat(row["occurred_at"])
        tx.put("outbox", (row["event_id"],), {**row, **empty, "occurred_at": occurred_at})
    return Rows(rowcount=len(rows))


@means("7f2e7dcc4626")
def facts_after(tx: Transaction, p: Parameters) -> Rows:
    found = [
        row
        for row in tx.rows("outbox")
        if row["position"] is not None and row["position"] > p["position"]
    ]
    found.sort(key=lambda row: int(row["position"]))
    return Rows(found[: p["count"]])


@means("1cc51a46d4d5")
def any_unnumbered(tx: Transaction, _: Parameters) -> Rows:
    return Rows([{"?column?": 1} for row in tx.rows("outbox") if row["position"] is None][:1])


@means("d801355f96ed")
def lock_head(tx: Transaction, _: Parameters) -> Rows:
    tx.lock("outbox_head", 0)
    return last_position(tx, _)


@means("9a4e1fd79d5b")
def last_position(tx: Transaction, _: Parameters) -> Rows:
    row = tx.get("outbox_head", 0)
    assert row is not None, "one row a shard"
    return Rows([{"last_position": row["last_position"]}])


@means("8c9541efd8da")
def move_head(tx: Transaction, p: Parameters) -> Rows:
    tx.lock("outbox_head", 0)
    tx.put("outbox_head", (0,), {"shard": 0, "last_position": p["last_position"]})
    return Rows(rowcount=1)


@means("3df340ae27c9")
def unnumbered(tx: Transaction, p: Parameters) -> Rows:
    return Rows(_unnumbered(tx)[: p["count"]])


@means("71cefdb3f567")
def unnumbered_that_follow(tx: Transaction, p: Parameters) -> Rows:
    return Rows([row for row in _unnumbered(tx) if row["follows"]][: p["count"]])


@means("87f4af939702")
def number(tx: Transaction, p: Parameters) -> Rows:
    given = json.loads(p["positions"])
    assert sorted(given) == sorted(p["event_ids"])
    for event_id in given:
        tx.lock("outbox", event_id)
    count = 0
    for event_id, position in given.items():
        row = tx.get("outbox", event_id)
        if row is not None and row["position"] is None:
            tx.put("outbox", (event_id,), {**row, "position": position})
            count += 1
    return Rows(rowcount=count)


@means("dfd89036a15b")
def insert_keys(tx: Transaction, p: Parameters) -> Rows:
    records = sorted(json.loads(p["claims"]), key=lambda one: (one["tenant_id"], one["key"]))
    keys = [(one["tenant_id"], p["route"], one["key"]) for one in records]
    for key in keys:
        tx.lock("idempotency_records", *key)
    inserted = []
    for key, one in zip(keys, records, strict=True):
        if tx.get("idempotency_records", *key) is None:
            record = {
                "tenant_id": one["tenant_id"],
                "route": p["route"],
                "idempotency_key": one["key"],
                "request_hash": one["request_hash"],
                "subject_id": one["subject_id"],
                "facts": one["facts"],
                "created_at": p["now"],
                "expires_at": p["expires_at"],
            }
            tx.put("idempotency_records", key, record)
            inserted.append({"subject_id": one["subject_id"]})
    return Rows(inserted)


@means("77c43c70876c")
def read_keys(tx: Transaction, p: Parameters) -> Rows:
    asked = sorted(zip(p["tenant_ids"], p["keys"], strict=True))
    names = ("tenant_id", "idempotency_key", "request_hash", "subject_id", "facts")
    rows = [tx.get("idempotency_records", tenant, p["route"], key) for tenant, key in asked]
    return Rows([{name: row[name] for name in names} for row in rows if row is not None])


@means("af0dbdbecc90")
def read_key(tx: Transaction, p: Parameters) -> Rows:
    row = tx.get("idempotency_records", p["tenant_id"], p["route"], p["key"])
    if row is None:
        return Rows()
    return Rows([{name: row[name] for name in ("request_hash", "subject_id", "facts")}])


def _flight(tx: Transaction, row: Row) -> Row:
    flight = tx.get("flights", row["flight_id"])
    assert flight is not None, "a cabin has a flight"
    return flight


def _inventory_row(tx: Transaction, row: Row) -> Row:
    return {
        "flight_id": row["flight_id"],
        "cabin": row["cabin"],
        "limits": row["limits"],
        "sold": row["sold"],
        "version": row["version"],
        "flight_version": _flight(tx, row)["version"],
    }


def _unique(row: Mapping[str, Any]) -> set[tuple[str, Any]]:
    keys: set[tuple[str, Any]] = {
        ("bookings", row["booking_id"]),
        ("bookings.hold", row["hold_id"]),
        ("bookings.locator", row["record_locator"]),
    }
    if row["client_reference"] is not None:
        keys.add(("bookings.reference", (row["tenant_id"], row["client_reference"])))
    return keys


def _sequence(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["aggregate_type"], row["aggregate_id"], row["sequence"]


def _unnumbered(tx: Transaction) -> list[Row]:
    """Facts without a position, the oldest first."""
    rows = tx.rows("outbox")
    numbered = {
        (r["aggregate_type"], r["aggregate_id"], r["sequence"])
        for r in rows
        if r["position"] is not None
    }
    waiting = [row for row in rows if row["position"] is None]
    waiting.sort(key=lambda row: (row["occurred_at"], row["sequence"]))
    return [
        {
            "event_id": row["event_id"],
            "aggregate_type": row["aggregate_type"],
            "aggregate_id": row["aggregate_id"],
            "sequence": row["sequence"],
            "follows": row["sequence"] == 1
            or (row["aggregate_type"], row["aggregate_id"], row["sequence"] - 1) in numbered,
        }
        for row in waiting
    ]


def _packed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
