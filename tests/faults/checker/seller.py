"""A correct seller in memory: it answers one request after the other and keeps every invariant.

It records the history of its clients, with answers lost before or after their effect and repeated requests,
and the final dumps. The checker must never report a violation for it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.clock import instant_text
from app.hold.model import instant_of
from app.ids import FlightId, HoldId, TenantId, booking_id, event_id, hold_id
from app.inventory.model import open_seats
from tests.faults.checker.model import Terms
from tests.faults.dumps import (
    BookingRow,
    Dumps,
    EpochRow,
    IdempotencyRow,
    InventoryRow,
    JournalRow,
    Line,
    OutboxRow,
    RedisCabin,
    RedisDump,
    RedisMemo,
)
from tests.faults.history import OK, REFUSED, UNKNOWN, History, Operation

Json = dict[str, Any]
Answer = tuple[int, Json | None, dict[str, str]]

START_US: Final = 1_790_000_000_000_000
EPOCH: Final = 3
CABIN: Final = "economy"
ANSWERED, LOST, DROPPED, NEVER_SENT = "answered", "lost", "dropped", "never sent"
_PRICE: Final = {"total": {"amount": "12990", "currency": "CLP"}, "passengers": []}


@dataclass(slots=True)
class _Held:
    hold_id: str
    tenant: str
    key: str
    lines: tuple[Line, ...]
    first: Json  # the original answer
    granted_at: int
    first_expires_at: int
    expires_at: int
    extensions: int = 0
    state: str = "HELD"


class Seller:
    def __init__(
        self, flights: Mapping[str, Sequence[tuple[str, int]]], ttl_seconds: float = 10.0
    ) -> None:
        self.history = History()
        self.now = 1000.0
        self.flights = flights
        self._ttl = ttl_seconds
        self._holds: dict[str, _Held] = {}
        self._bookings: dict[str, BookingRow] = {}
        self._answers: dict[str, Json] = {}  # the present state of each booking
        self._records: dict[tuple[str, str, str], tuple[Json, str | None, Answer]] = {}
        self._facts: list[OutboxRow] = []
        self._numbers = 0

    @property
    def terms(self) -> Terms:
        layout = {flight: {CABIN: tuple(classes)} for flight, classes in self.flights.items()}
        return Terms(layout, hold_ttl_seconds=self._ttl, settled_at=self.now + 1e6)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def hold(
        self,
        choices: Sequence[tuple[str, str]],
        seats: int = 1,
        *,
        key: str = "",
        tenant: str = "demo",
        fate: str = ANSWERED,
    ) -> Operation:
        body: Json = {
            "segments": [{"flight_id": f, "booking_class": letter} for f, letter in choices],
            "passengers": {"ADT": seats, "CHD": 0, "INF": 0},
        }
        key = key or self._new_key()
        return self._deliver(
            "hold", tenant, key, None, body, fate, lambda: self._hold(tenant, key, body)
        )

    def book(
        self, hold: str, *, key: str = "", tenant: str = "demo", fate: str = ANSWERED
    ) -> Operation:
        body: Json = {"hold_id": hold, "passengers": [], "contact": {}, "payment": {}}
        key = key or self._new_key()
        return self._deliver(
            "book", tenant, key, hold, body, fate, lambda: self._book(tenant, key, hold, body)
        )

    def cancel(
        self, booking: str, *, key: str | None = None, tenant: str = "demo", fate: str = ANSWERED
    ) -> Operation:
        return self._deliver(
            "cancel", tenant, key, booking, {}, fate, lambda: self._cancel(booking)
        )

    def release(self, hold: str, *, tenant: str = "demo", fate: str = ANSWERED) -> Operation:
        return self._deliver("release", tenant, None, hold, {}, fate, lambda: self._release(hold))

    def extend(self, hold: str, *, key: str = "", fate: str = ANSWERED) -> Operation:
        key = key or self._new_key()
        return self._deliver("extend", "demo", key, hold, {}, fate, lambda: self._extend(hold))

    def get_hold(self, hold: str) -> Operation:
        return self._deliver("get_hold", "demo", None, hold, {}, ANSWERED, lambda: self._read(hold))

    def get_booking(self, booking: str) -> Operation:
        return self._deliver(
            "get_booking",
            "demo",
            None,
            booking,
            {},
            ANSWERED,
            lambda: (200, self._answers[booking], {}),
        )

    def availability(self, flight: str) -> Operation:
        return self._deliver(
            "availability", "ops", None, flight, {}, ANSWERED, lambda: self._availability(flight)
        )

    def events(self) -> Operation:
        def page() -> Answer:
            mine = [_envelope(fact) for fact in self._facts if fact.tenant_id == "demo"]
            return 200, {"data": mine, "meta": {"after": "end", "has_more": False}}, {}

        return self._deliver("events", "demo", None, None, {}, ANSWERED, page)

    def dumps(self) -> Dumps:
        """The dumps at rest: every expired hold is EXPIRED in the journal."""
        self.wait(5)
        self._expire()
        sold, held = self._counts()
        flights = self.flights.items()
        return Dumps(
            inventory=tuple(
                InventoryRow(
                    flight,
                    CABIN,
                    tuple(letter for letter, _ in classes),
                    tuple(limit for _, limit in classes),
                    tuple(limit for _, limit in classes),
                    tuple(sold[flight]),
                    sum(sold[flight]),
                    classes[0][1],
                    7,
                )
                for flight, classes in flights
            ),
            hold_journal=tuple(map(self._journal_row, self._holds.values())),
            bookings=tuple(self._bookings.values()),
            outbox=tuple(self._facts),
            idempotency=tuple(
                IdempotencyRow(tenant, "bookings.confirm", key, (answer[1] or {})["id"])
                for (kind, tenant, key), (_, _, answer) in self._records.items()
                if kind == "book"
            ),
            epoch=EpochRow(EPOCH, "redis", "one", START_US),
            redis=RedisDump(
                epoch=EPOCH,
                now=self._clock(),
                clock=self._clock(),
                flights={
                    flight: {
                        CABIN: RedisCabin(
                            7,
                            tuple(limit for _, limit in classes),
                            tuple(sold[flight]),
                            tuple(held[flight]),
                        )
                    }
                    for flight, classes in flights
                },
                memos={
                    one.hold_id: RedisMemo("HELD", one.lines, one.expires_at, one.granted_at, 1)
                    for one in self._live()
                },
                expiries={
                    flight: {
                        one.hold_id: one.expires_at
                        for one in self._live()
                        if any(line.flight_id == flight for line in one.lines)
                    }
                    for flight in self.flights
                },
            ),
            bus=tuple(map(_envelope, self._facts)),
        )

    def _hold(self, tenant: str, key: str, body: Json) -> Answer:
        self._expire()
        lines = tuple(
            Line(one["flight_id"], CABIN, self._position(one), body["passengers"]["ADT"])
            for one in body["segments"]
        )
        errors = []
        for index, line in enumerate(lines):
            left = self._open(line.flight_id)[line.position - 1]
            if left < line.seats:
                errors.append(
                    {
                        "pointer": f"/segments/{index}",
                        "code": "sold_out",
                        **body["segments"][index],
                        "requested": line.seats,
                        "open": left,
                    }
                )
        if errors:
            return _problem(409, "sold_out", errors=errors)
        now = self._clock()
        expires_at = now + round(self._ttl * 1_000_000)
        name = hold_id(TenantId(tenant), key, 1)
        answer = {
            "id": name,
            "status": "active",
            **body,
            "price": _PRICE,
            "expires_at": _text(expires_at),
            "client_reference": None,
            "created_at": _text(now),
        }
        self._holds[name] = _Held(name, tenant, key, lines, answer, now, expires_at, expires_at)
        return 201, answer, {"location": f"/v1/holds/{name}"}

    def _book(self, tenant: str, key: str, hold: str, body: Json) -> Answer:
        self._expire()
        held = self._holds.get(hold)
        if held is None or held.tenant != tenant:
            return _problem(404, "not_found")
        if held.state != "HELD":
            expired = held.state == "EXPIRED"
            return _problem(410, "hold_expired") if expired else _problem(409, "hold_not_active")
        held.state = "CONFIRMED"
        name = booking_id(HoldId(hold))
        row = BookingRow(
            name, tenant, hold, f"L{len(self._bookings):05}", "confirmed", held.lines, None, 1
        )
        self._bookings[name] = row
        self._answers[name] = {
            "id": name,
            "record_locator": row.record_locator,
            "status": "confirmed",
            "hold_id": hold,
            "segments": held.first["segments"],
            "passengers": body["passengers"],
            "contact": {},
            "payment": {},
            "client_reference": None,
        }
        self._append_fact(row, held, "booking.confirmed")
        return 201, self._answers[name], {"location": f"/v1/bookings/{name}"}

    def _cancel(self, booking: str) -> Answer:
        row = self._bookings[booking]
        if row.status == "confirmed":
            row = self._bookings[booking] = BookingRow(
                row.booking_id,
                row.tenant_id,
                row.hold_id,
                row.record_locator,
                "cancelled",
                row.lines,
                None,
                2,
            )
            self._answers[booking] = {**self._answers[booking], "status": "cancelled"}
            self._append_fact(row, self._holds[row.hold_id], "booking.cancelled")
        return 200, self._answers[booking], {}

    def _release(self, hold: str) -> Answer:
        self._expire()
        held = self._holds[hold]
        if held.state == "CONFIRMED":
            return _problem(409, "hold_not_active")
        if held.state == "HELD":
            held.state = "RELEASED"
        return 204, None, {}

    def _extend(self, hold: str) -> Answer:
        self._expire()
        held = self._holds[hold]
        if held.state == "EXPIRED":
            return _problem(410, "hold_expired")
        if held.state != "HELD":
            return _problem(409, "hold_not_active")
        if held.extensions:
            return _problem(409, "extension_limit_reached")
        held.extensions = 1
        held.expires_at += round(self._ttl * 1_000_000)
        return 200, {**held.first, "expires_at": _text(held.expires_at)}, {}

    def _read(self, hold: str) -> Answer:
        self._expire()
        held = self._holds[hold]
        states = {"HELD": "active", "CONFIRMED": "booked"}
        status = states.get(held.state, held.state.lower())
        return 200, {**held.first, "status": status, "expires_at": _text(held.expires_at)}, {}

    def _availability(self, flight: str) -> Answer:
        self._expire()
        sold, held = self._counts()
        classes = [
            {
                "booking_class": letter,
                "open": min(9, self._open(flight)[at]),
                "limit": limit,
                "sold": sold[flight][at],
                "held": held[flight][at],
            }
            for at, (letter, limit) in enumerate(self.flights[flight])
        ]
        return (
            200,
            {"flight_id": flight, "cabins": [{"cabin": CABIN, "booking_classes": classes}]},
            {},
        )

    def _deliver(
        self,
        kind: str,
        tenant: str,
        key: str | None,
        subject: str | None,
        request: Json,
        fate: str,
        work: Callable[[], Answer],
    ) -> Operation:
        self._numbers += 1
        invoked_at = self._tick()
        self._tick()
        answer: Answer | None = None
        if fate == NEVER_SENT:
            answer = _problem(503, "hold_store_unavailable")
            answer[2]["retry-after"] = "1"
        elif fate != DROPPED:
            answer = self._once(kind, tenant, key, subject, request, work)
        completed_at = self._tick()
        if fate in (LOST, DROPPED):
            answer = None
        status, body, headers = answer if answer is not None else (None, None, {})
        refused = status is not None and status >= 400
        request_id = f"r{self._numbers}"
        operation = Operation(
            number=self._numbers,
            client=tenant,
            process="one",
            kind=kind,
            tenant=tenant,
            key=key,
            subject=subject,
            request=_copy(request),
            request_id=request_id,
            invoked_at=invoked_at,
            completed_at=None if answer is None else completed_at,
            outcome=UNKNOWN if answer is None else REFUSED if refused else OK,
            status=status,
            code=(body or {}).get("code") if refused else None,
            answer=None if body is None else _copy(body),
            headers={} if answer is None else {**headers, "x-request-id": request_id},
        )
        self.history.append(operation)
        return operation

    def _once(
        self,
        kind: str,
        tenant: str,
        key: str | None,
        subject: str | None,
        request: Json,
        work: Callable[[], Answer],
    ) -> Answer:
        if key is None:
            return work()
        kept = self._records.get((kind, tenant, key))
        if kept is not None:
            if kept[:2] != (request, subject):
                return _problem(422, "idempotency_key_reused")
            status, body, headers = kept[2]
            return status, body, {**headers, "idempotent-replayed": "true"}
        answer = work()
        if answer[0] < 400:
            self._records[kind, tenant, key] = (_copy(request), subject, _copied(answer))
        return answer

    def _append_fact(self, row: BookingRow, held: _Held, kind: str) -> None:
        now = self._clock()
        self._facts.append(
            OutboxRow(
                event_id(row.booking_id, row.version),
                kind,
                1,
                row.tenant_id,
                "booking",
                row.booking_id,
                row.version,
                now,
                {
                    "segments": [
                        {**one, "seats": line.seats}
                        for one, line in zip(held.first["segments"], held.lines, strict=True)
                    ]
                },
                len(self._facts) + 1,
                now,
            )
        )

    def _expire(self) -> None:
        for held in self._live():
            if held.expires_at <= self._clock():
                held.state = "EXPIRED"

    def _live(self) -> list[_Held]:
        return [one for one in self._holds.values() if one.state == "HELD"]

    def _open(self, flight: str) -> tuple[int, ...]:
        sold, held = self._counts()
        taken = [s + h for s, h in zip(sold[flight], held[flight], strict=True)]
        return open_seats([limit for _, limit in self.flights[flight]], taken)

    def _counts(self) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        sold = {flight: [0] * len(classes) for flight, classes in self.flights.items()}
        held = {flight: [0] * len(classes) for flight, classes in self.flights.items()}
        for row in self._bookings.values():
            for line in row.lines if row.status == "confirmed" else ():
                sold[line.flight_id][line.position - 1] += line.seats
        for one in self._live():
            for line in one.lines:
                held[line.flight_id][line.position - 1] += line.seats
        return sold, held

    def _journal_row(self, held: _Held) -> JournalRow:
        return JournalRow(
            held.hold_id,
            held.tenant,
            held.key,
            1,
            held.lines,
            EPOCH,
            held.granted_at,
            held.expires_at,
            held.first_expires_at,
            held.extensions,
            1,
            held.state,
        )

    def _position(self, segment: Json) -> int:
        letters = [letter for letter, _ in self.flights[FlightId(segment["flight_id"])]]
        return letters.index(segment["booking_class"]) + 1

    def _new_key(self) -> str:
        return f"own-{self._numbers}"

    def _tick(self) -> float:
        self.now += 0.004
        return self.now

    def _clock(self) -> int:
        return START_US + int(self.now * 1000) * 1000


def _problem(status: int, code: str, **facts: Any) -> Answer:
    body = {"status": status, "code": code, **facts}
    return status, body, {"content-type": "application/problem+json"}


def _envelope(fact: OutboxRow) -> Json:
    return {
        "id": fact.event_id,
        "type": fact.type,
        "version": fact.version,
        "occurred_at": _text(fact.occurred_at),
        "tenant_id": fact.tenant_id,
        "aggregate": {"type": fact.aggregate_type, "id": fact.aggregate_id},
        "sequence": fact.sequence,
        "data": fact.data,
    }


def _copied(answer: Answer) -> Answer:
    return answer[0], None if answer[1] is None else _copy(answer[1]), dict(answer[2])


def _copy(value: Json) -> Json:
    copied: Json = json.loads(json.dumps(value))
    return copied


def _text(number: int) -> str:
    return instant_text(instant_of(number))
