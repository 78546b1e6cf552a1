"""EventBridge: against a bus that fails as it is told, and against moto with a rule and a queue."""

import asyncio
import io
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.adapters.eventbridge import EventBridge, Timeouts, entry_bytes
from app.clock import utc_now
from app.outbox.model import Event, Fact
from app.outbox.publisher import Accepted, Publisher, Refused
from app.outbox.relay import Relay, RelayTimings
from app.outbox.retry import Backoff
from app.settings import Settings, SettingsError
from app.storage.database import Database
from app.wiring import Core, publisher_of
from tests.builders.bookings import booking_service, wanted
from tests.builders.facts import NOON, a_fact, an_event, append, rows
from tests.builders.flights import flight
from tests.builders.holds import DEMO, key, no_offers, request
from tests.fixtures.api import environment
from tests.fixtures.aws import ACCOUNT, Entry, Queue, Reply, StubBus, account, stub_bus
from tests.fixtures.core import sell_from
from tests.fixtures.logging import logged
from tests.fixtures.roles import Role

__all__ = ["logged"]

FAST = RelayTimings(
    lease_seconds=4.0,
    renew_seconds=0.2,
    publish_seconds=2.0,
    idle=Backoff(0.005, 0.01),
    outage=Backoff(0.005, 0.02),
    refusal=Backoff(0.005, 0.02),
    poison=Backoff(0.005, 0.02),
)
THROTTLED = Refused(retryable=True, reason="throttled")
TIMEOUT = Refused(retryable=True, reason="timeout")


@pytest.fixture(scope="module")
def module_account() -> Iterator[None]:
    with account():
        yield


@pytest.fixture(scope="module")
async def shared_stub(module_account: None) -> AsyncIterator[StubBus]:
    async with stub_bus() as stub:
        yield stub


@pytest.fixture(scope="module")
async def shared_bus(shared_stub: StubBus) -> AsyncIterator[EventBridge]:
    """Opening one takes longer than most of these tests."""
    bus = EventBridge("flights", endpoint_url=shared_stub.url)
    yield bus
    await bus.close()


@pytest.fixture
async def stub(shared_stub: StubBus) -> StubBus:
    shared_stub.forget()
    return shared_stub


@pytest.fixture
def bus(stub: StubBus, shared_bus: EventBridge) -> EventBridge:
    return shared_bus


@pytest.fixture
async def impatient(stub: StubBus, aws_account: pytest.MonkeyPatch) -> AsyncIterator[EventBridge]:
    """Opened by a first batch, because opening may take longer than its patience."""
    timeouts = Timeouts(connect_seconds=0.2, read_seconds=0.2, batch_seconds=0.5)
    impatient = EventBridge("flights", endpoint_url=stub.url, timeouts=timeouts)
    async with asyncio.timeout(10):
        while await impatient.publish(events(1)) != [Accepted()]:
            pass
    stub.forget()
    yield impatient
    await impatient.close()


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    database = Database(empty_database)
    yield database
    await database.close()


def events(count: int, **fact: Any) -> list[Event]:
    return [an_event(a_fact(f"bkg_{place}", **fact)) for place in range(count)]


@asynccontextmanager
async def relaying(database: Database, bus: Publisher) -> AsyncIterator[None]:
    stop = asyncio.Event()
    with capture_logs():
        task = asyncio.create_task(Relay(database, bus, utc_now, timings=FAST).run(stop))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is another task's doing
            await asyncio.sleep(0.01)


async def until_all_published(database: Database) -> None:
    async with asyncio.timeout(20):
        while not all(row["published_at"] for row in await rows(database)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def firsts(taken: Sequence[dict[str, Any]]) -> dict[str, list[int]]:
    """By aggregate, the sequences in the order in which each came for the first time."""
    found: dict[str, list[int]] = {}
    for envelope in taken:
        seen = found.setdefault(envelope["aggregate"]["id"], [])
        if envelope["sequence"] not in seen:
            seen.append(envelope["sequence"])
    return found


class TestWhatIsSent:
    async def test_an_entry_tells_whence_what_and_when(
        self, bus: EventBridge, stub: StubBus
    ) -> None:
        event = an_event(a_fact(data={"city": "Ñuñoa"}))
        assert await bus.publish([event]) == [Accepted()]
        [[entry]] = stub.requests
        assert json.loads(entry.pop("Detail")) == event.to_json()
        assert entry == {
            "Source": "holdfast",
            "DetailType": "booking.confirmed",
            "EventBusName": "flights",
            "Time": NOON.timestamp(),
        }
        [headers] = stub.headers
        assert headers["x-amz-target"].lower() == "awsevents.putevents"
        assert "/sa-east-1/events/aws4_request" in headers["authorization"]

    async def test_ten_at_a_time_in_order_over_one_connection(
        self, bus: EventBridge, stub: StubBus
    ) -> None:
        batch = events(25)
        assert await bus.publish(batch) == [Accepted()] * 25
        assert [len(one) for one in stub.requests] == [10, 10, 5]
        assert stub.taken == [event.to_json() for event in batch]
        await bus.publish(batch[:1])
        assert len(set(stub.clients)) == 1

    async def test_opens_again_after_it_was_closed(self, bus: EventBridge, stub: StubBus) -> None:
        await bus.publish(events(1))
        await bus.close()
        assert await bus.publish(events(1)) == [Accepted()]

    async def test_the_region_of_the_settings_comes_first(
        self, stub: StubBus, aws_account: pytest.MonkeyPatch
    ) -> None:
        publisher = publisher_of(
            Settings.from_environment(
                {
                    "EVENT_BUS": "eventbridge",
                    "AWS_REGION": "us-west-2",
                    "AWS_ENDPOINT_URL": stub.url,
                }
            )
        )
        assert await publisher.publish(events(1)) == [Accepted()]
        await publisher.close()
        assert "/us-west-2/events/" in stub.headers[0]["authorization"]
        assert stub.requests[0][0]["EventBusName"] == "default"

    def test_without_a_region_it_does_not_start(self, aws_account: pytest.MonkeyPatch) -> None:
        aws_account.delenv("AWS_DEFAULT_REGION")
        settings = Settings.from_environment({"EVENT_BUS": "eventbridge"})
        with pytest.raises(SettingsError, match="AWS_REGION"):
            publisher_of(settings)

    def test_an_endpoint_of_ones_own_needs_no_region(self, aws_account: pytest.MonkeyPatch) -> None:
        aws_account.delenv("AWS_DEFAULT_REGION")
        publisher_of(
            Settings.from_environment(
                {"EVENT_BUS": "eventbridge", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
            )
        )

    def test_a_profile_that_does_not_exist_stops_the_start(
        self, aws_account: pytest.MonkeyPatch
    ) -> None:
        aws_account.delenv("AWS_DEFAULT_REGION")
        aws_account.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(SettingsError, match="nobody"):
            publisher_of(Settings.from_environment({"EVENT_BUS": "eventbridge"}))


class TestSize:
    @pytest.mark.parametrize(
        ("entry", "size"),
        [
            ({"Source": "a", "DetailType": "bc", "Detail": "{}"}, 5),
            ({"Source": "a", "DetailType": "bc", "Detail": "{}", "Time": NOON}, 19),
            ({"Source": "ñ", "DetailType": "東京", "Detail": '{"a":"✈"}'}, 2 + 6 + 11),
            ({"Source": "a", "DetailType": "b", "Resources": ["é", "ab"]}, 1 + 1 + 2 + 2),
            ({"Source": "a", "DetailType": "b", "EventBusName": "counts for nothing"}, 2),
        ],
    )
    def test_counts_as_aws_does(self, entry: Entry, size: int) -> None:
        assert entry_bytes(entry) == size

    async def test_fewer_bytes_than_the_limit_is_taken_the_limit_is_not(
        self, bus: EventBridge, stub: StubBus
    ) -> None:
        await bus.publish(events(1, data={"text": ""}))
        [[entry]] = stub.requests
        free = stub.max_bytes - entry_bytes(entry)
        text = "é" * ((free - 1) // 2) + "e" * ((free - 1) % 2)  # é counts twice
        fits = an_event(a_fact("bkg_0", data={"text": text}))
        over = an_event(a_fact("bkg_0", data={"text": "e" * free}))
        last = an_event(a_fact("bkg_z"))
        stub.requests.clear()
        assert await bus.publish([over, fits, last]) == [
            Refused(retryable=False, reason="too_large"),
            Accepted(),
            Accepted(),
        ]
        assert stub.sent() == [["bkg_0"], ["bkg_z"]]

    async def test_a_request_is_filled_to_the_limit(self, bus: EventBridge, stub: StubBus) -> None:
        batch = events(7, data={"text": "x" * 60_000})
        assert await bus.publish(batch) == [Accepted()] * 7
        assert [len(one) for one in stub.requests] == [4, 3]

    @pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": "\ud800"}, {"a": {1, 2}}])
    async def test_what_is_no_json_is_refused_unsent(
        self, bus: EventBridge, stub: StubBus, data: dict[str, Any]
    ) -> None:
        odd, good = an_event(a_fact("bkg_odd", data=data)), an_event()
        assert await bus.publish([odd, good]) == [
            Refused(retryable=False, reason="malformed_detail"),
            Accepted(),
        ]
        assert stub.sent() == [["bkg_a"]]


class TestEntriesThatFail:
    @pytest.mark.parametrize(
        ("code", "refused"),
        [
            ("InternalFailure", Refused(True, "bus_failed")),
            ("ThrottlingException", THROTTLED),
            ("AccessDeniedException", Refused(True, "access_denied")),
            ("NotAuthorizedForDetailTypeException", Refused(True, "access_denied")),
            ("SomethingNew", Refused(True, "unknown_error")),
            ("InvalidArgument", Refused(False, "invalid_argument")),
            ("MalformedDetail", Refused(False, "malformed_detail")),
        ],
    )
    async def test_the_code_tells_whether_to_come_again(
        self, bus: EventBridge, stub: StubBus, code: str, refused: Refused
    ) -> None:
        stub.judge = lambda entries: Reply(failed={1: code})
        assert await bus.publish(events(3)) == [Accepted(), refused, Accepted()]
        assert len(stub.requests) == 1

    async def test_one_that_spoils_its_request_is_found(
        self, bus: EventBridge, stub: StubBus
    ) -> None:
        def judge(entries: Sequence[Entry]) -> Reply:
            spoilt = any('"bkg_2"' in entry["Detail"] for entry in entries)
            return Reply(error=(400, "ValidationException")) if spoilt else Reply()

        stub.judge = judge
        answers = await bus.publish(events(12))
        assert answers.count(Accepted()) == 11
        assert answers[2] == Refused(retryable=False, reason="rejected")
        assert [envelope["aggregate"]["id"] for envelope in stub.taken] == [
            f"bkg_{place}" for place in range(12) if place != 2
        ]

    async def test_they_alone_are_sent_again_in_order(
        self, bus: EventBridge, stub: StubBus, database: Database
    ) -> None:
        names = ["bkg_a", "bkg_b", "bkg_c", "bkg_d"]
        for sequence in (1, 2):
            await append(database, *(a_fact(name, sequence, seconds=sequence) for name in names))

        def judge(entries: Sequence[Entry]) -> Reply:
            first = len(stub.requests) == 1
            return Reply(failed={1: "InternalFailure", 3: "InternalFailure"} if first else {})

        stub.judge = judge
        async with relaying(database, bus):
            await until_all_published(database)
        assert stub.sent()[0] == names
        assert firsts(stub.taken) == {name: [1, 2] for name in names}
        assert len(stub.taken) == 8
        times_sent = [sum(one.count(name) for one in stub.sent()) for name in names]
        assert times_sent == [2, 3, 2, 3]


class TestABusThatIsAway:
    async def test_throttled_it_stops_sending(self, bus: EventBridge, stub: StubBus) -> None:
        def judge(entries: Sequence[Entry]) -> Reply:
            return Reply(error=(400, "ThrottlingException")) if len(stub.requests) == 2 else Reply()

        stub.judge = judge
        assert await bus.publish(events(35)) == [Accepted()] * 10 + [THROTTLED] * 25
        assert len(stub.requests) == 2

    async def test_throttled_by_entries_it_stops_after_them(
        self, bus: EventBridge, stub: StubBus
    ) -> None:
        stub.judge = lambda entries: Reply(failed={9: "ThrottlingException"})
        assert await bus.publish(events(25)) == [Accepted()] * 9 + [THROTTLED] * 16
        assert len(stub.requests) == 1

    @pytest.mark.parametrize(
        ("status", "code", "reason"),
        [
            (429, "Whatever", "throttled"),
            (500, "InternalException", "bus_failed"),
            (503, "Whatever", "bus_failed"),
            (400, "ResourceNotFoundException", "no_such_bus"),
            (400, "UnrecognizedClientException", "access_denied"),
            (400, "Whatever", "unknown_error"),
        ],
    )
    async def test_boto_does_not_try_again_by_itself(
        self, bus: EventBridge, stub: StubBus, status: int, code: str, reason: str
    ) -> None:
        stub.judge = lambda entries: Reply(error=(status, code))
        assert await bus.publish(events(11)) == [Refused(retryable=True, reason=reason)] * 11
        assert len(stub.requests) == 1

    @pytest.mark.parametrize("how", ["before", "after", "half way"])
    async def test_a_lost_connection_is_waited_out(
        self, bus: EventBridge, stub: StubBus, how: Any
    ) -> None:
        stub.judge = lambda entries: Reply(hang_up=how)
        lost = Refused(retryable=True, reason="connection_failed")
        assert await bus.publish(events(11)) == [lost] * 11
        assert len(stub.requests) == 1
        stub.judge = lambda entries: Reply()
        assert await bus.publish(events(11)) == [Accepted()] * 11

    async def test_nobody_there(self, aws_account: pytest.MonkeyPatch) -> None:
        bus = EventBridge("flights", endpoint_url="http://127.0.0.1:1")
        assert await bus.publish(events(1)) == [Refused(retryable=True, reason="connection_failed")]
        await bus.close()

    async def test_a_late_answer_is_not_waited_for(
        self, impatient: EventBridge, stub: StubBus
    ) -> None:
        stub.judge = lambda entries: Reply(late_seconds=5)
        assert await impatient.publish(events(11)) == [TIMEOUT] * 11
        assert len(stub.requests) == 1
        stub.judge = lambda entries: Reply()
        assert await impatient.publish(events(11)) == [Accepted()] * 11

    async def test_one_answer_does_not_get_the_time_of_all(
        self, stub: StubBus, aws_account: pytest.MonkeyPatch
    ) -> None:
        timeouts = Timeouts(read_seconds=0.1, batch_seconds=60)
        bus = EventBridge("flights", endpoint_url=stub.url, timeouts=timeouts)
        stub.judge = lambda entries: Reply(late_seconds=60)
        async with asyncio.timeout(20):
            assert await bus.publish(events(1)) == [TIMEOUT]
        await bus.close()

    async def test_slow_it_tells_what_was_taken_before_time_was_up(
        self, impatient: EventBridge, stub: StubBus
    ) -> None:
        stub.judge = lambda entries: Reply(late_seconds=0.15)
        answers = await impatient.publish(events(100))
        taken = answers.count(Accepted())
        assert 10 <= taken < 100
        assert answers == [Accepted()] * taken + [TIMEOUT] * (100 - taken)

    def test_its_patience_ends_before_the_relays(self) -> None:
        assert Timeouts().read_seconds < Timeouts().batch_seconds < RelayTimings().publish_seconds

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>",
            b"[]",
            b"{}",
            b"null",
            b'{"Entries":[]}',
            b'{"Entries":7}',
            b'{"Entries":[{}]}',
            b'{"Entries":[{"EventId":"1"},{"EventId":"2"}]}',
        ],
    )
    async def test_what_is_no_answer_is_no_acceptance(
        self, bus: EventBridge, stub: StubBus, body: bytes
    ) -> None:
        stub.judge = lambda entries: Reply(body=body)
        assert await bus.publish(events(1)) == [Refused(retryable=True, reason="bad_answer")]

    async def test_credentials_that_come_later_are_found(
        self, bus: EventBridge, stub: StubBus, aws_account: pytest.MonkeyPatch
    ) -> None:
        await bus.close()
        aws_account.delenv("AWS_ACCESS_KEY_ID")
        assert await bus.publish(events(1)) == [Refused(retryable=True, reason="no_credentials")]
        assert stub.requests == []
        aws_account.setenv("AWS_ACCESS_KEY_ID", ACCOUNT["AWS_ACCESS_KEY_ID"])
        assert await bus.publish(events(1)) == [Accepted()]

    async def test_no_secret_is_logged(
        self, bus: EventBridge, stub: StubBus, logged: io.StringIO
    ) -> None:
        for reply in (Reply(), Reply(error=(400, "UnrecognizedClientException")), Reply(body=b"?")):
            stub.judge = partial(_always, reply)
            await bus.publish(events(1))
        assert len(stub.requests) == 3
        written = logged.getvalue()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            assert ACCOUNT[name] not in written


async def test_whatever_the_bus_does_nothing_is_lost_or_turned_around(
    impatient: EventBridge, stub: StubBus, database: Database
) -> None:
    chance = random.Random(20261210)

    def judge(entries: Sequence[Entry]) -> Reply:
        draw = chance.random()
        if draw < 0.1:
            return Reply(hang_up=chance.choice(["before", "after", "half way"]))
        if draw < 0.15:
            return Reply(late_seconds=0.4)
        if draw < 0.3:
            return Reply(error=chance.choice([(400, "ThrottlingException"), (500, "Whatever")]))
        codes = ["InternalFailure", "ThrottlingException", "MalformedDetail"]
        failing = [place for place in range(len(entries)) if chance.random() < 0.3]
        return Reply(failed={place: chance.choice(codes) for place in failing})

    stub.judge = judge
    length, names = 5, [f"bkg_{number}" for number in range(23)]
    await append(database, *_history(names, length))
    async with relaying(database, impatient):
        await until_all_published(database)
    assert firsts(stub.taken) == {name: list(range(1, length + 1)) for name in names}


async def test_a_booking_is_in_the_queue_within_a_second(
    core: Core, empty_database: str, empty_redis: str, moto_url: str, queue: Queue, tmp_path: Path
) -> None:
    """From `holdfast relay` through a rule of the bus, as consumers will have it."""
    await sell_from(core, flight(flight_id="flt_a"))
    holds, bookings = core.holds(no_offers), booking_service(core)
    relay = Role(
        "relay",
        environment(
            tmp_path / "data",
            empty_database,
            empty_redis,
            EVENT_BUS="eventbridge",
            EVENT_BUS_NAME=queue.bus_name,
            AWS_ENDPOINT_URL=moto_url,
            **ACCOUNT,
        ),
    )
    received: list[Entry] = []

    async def book() -> str:
        hold = (await holds.place(DEMO, request(("flt_a", "Y")), key())).value
        return (await bookings.confirm(DEMO, wanted(hold), key())).value.booking_id

    async def until_received(booking_id: str) -> Entry:
        async with asyncio.timeout(20):
            while True:
                received.extend(await queue.receive())
                for event in received:
                    if event["detail"]["aggregate"]["id"] == booking_id:
                        return event
                await asyncio.sleep(0.02)

    await relay.start()
    try:
        await until_received(await book())  # the relay has started, and moto loaded what it needs
        booking_id = await book()
        committed = time.monotonic()
        event = await until_received(booking_id)
        assert time.monotonic() - committed < 1.0
    finally:
        await relay.stop()
    assert (event["source"], event["detail-type"]) == ("holdfast", "booking.confirmed")
    assert (event["detail"]["type"], event["detail"]["sequence"]) == ("booking.confirmed", 1)
    assert len(received) == 2


async def test_a_bus_that_does_not_exist_is_waited_for(
    moto_url: str, aws_account: pytest.MonkeyPatch
) -> None:
    bus = EventBridge("nobody-made-this", endpoint_url=moto_url)
    assert await bus.publish(events(1)) == [Refused(retryable=True, reason="no_such_bus")]
    await bus.close()


def _history(names: Sequence[str], length: int) -> list[Fact]:
    return [
        a_fact(name, sequence, seconds=sequence)
        for sequence in range(1, length + 1)
        for name in names
    ]


def _always(reply: Reply, entries: Sequence[Entry]) -> Reply:
    return reply
