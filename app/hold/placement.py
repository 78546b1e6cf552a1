"""Placing a hold: script, then journal row, then the answer; and what a repeated request gets.

The hold's id follows from tenant, key and attempt, so every try of one request meets the same memo and
the same row. Before a request is refused, the journal is asked whether its key has an answer already;
only of a key that was never granted anything does Redis know that it has none.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

from app.clock import Clock
from app.errors import DatabaseUnavailable, DomainError, HoldStoreUnavailable, IdempotencyKeyReused
from app.hold.availability import LiveAvailability
from app.hold.epochs.current import CurrentEpoch
from app.hold.errors import OfferExpired, SoldOut
from app.hold.journal import store as journal
from app.hold.journal.batched import BatchedJournal
from app.hold.model import (
    Blocked,
    ClassChoice,
    Full,
    Granted,
    Hold,
    HoldRequest,
    JournalEntry,
    JournalState,
    MemoState,
    OfferTerms,
    PlaceOutcome,
    Remembered,
    Stale,
)
from app.hold.pricing import Itinerary, itinerary
from app.hold.redis.holds import request_digest
from app.hold.redis.life import Life
from app.hold.views import original_answer
from app.idempotency.model import Answered, IdempotencyKey
from app.ids import FlightId, HoldId, TenantId, first_id, hold_id
from app.inventory import store as inventory_store
from app.inventory.catalogue import Catalogue
from app.inventory.itinerary import PassengerCounts
from app.inventory.model import Flight
from app.storage.database import Database

TRIES_MAX: Final = 8
BARRIER_PAUSE_SECONDS: Final = 0.1
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

OpenOffer = Callable[[TenantId, str], OfferTerms]
"""Reads a signed offer id for its tenant; raises ValidationFailed at /offer_id for any other text."""


class _Next(Enum):
    """What to ask Redis for next, where there is no answer yet."""

    SAME_ID = auto()  # the epoch moved, or the flights' terms did
    NEXT_ID = auto()  # this id was aborted before it was promised; the next one is free


@dataclass(frozen=True, slots=True)
class _Attempt:
    tenant_id: TenantId
    request: HoldRequest
    key: IdempotencyKey
    attempt: int
    hold_id: HoldId  # of this attempt
    plan: Itinerary
    epoch: int  # of the script's answer; travels with a grant into its row

    def entry(self, granted: Granted) -> JournalEntry:
        return JournalEntry(
            hold_id=self.hold_id,
            tenant_id=self.tenant_id,
            idempotency_key=self.key.key,
            attempt=self.attempt,
            request_hash=self.key.request_hash,
            client_reference=self.request.client_reference,
            lines=self.plan.lines,
            segments=self.plan.segments,
            passengers=self.plan.passengers,
            price=self.plan.price,
            epoch=self.epoch,
            granted_at=granted.granted_at,
            expires_at=granted.expires_at,
            first_expires_at=granted.expires_at,
        )


class Placement:
    def __init__(
        self,
        database: Database,
        batched_journal: BatchedJournal,
        live: LiveAvailability,
        epochs: CurrentEpoch,
        catalogue: Catalogue,
        open_offer: OpenOffer,
        clock: Clock,
    ) -> None:
        self._database = database
        self._journal = batched_journal
        self._live = live
        self._epochs = epochs
        self._catalogue = catalogue
        self._open_offer = open_offer
        self._clock = clock

    async def place(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold] | SoldOut:
        """Holds everything or nothing. A key that was answered before receives that answer again."""
        try:
            return await self._try_until_answered(tenant_id, request, key)
        except DatabaseUnavailable:
            raise
        except DomainError:
            first = await self._first_answer(tenant_id, key)
            if first is None:
                raise
            return first

    async def _try_until_answered(
        self, tenant_id: TenantId, request: HoldRequest, key: IdempotencyKey
    ) -> Answered[Hold] | SoldOut:
        offer = self._offer_of(tenant_id, request)
        choices = request.segments if offer is None else offer.segments
        passengers = request.passengers if offer is None else offer.passengers
        assert passengers is not None, "the request has passengers beside segments"
        flights = await self._catalogue.flights(choice.flight_id for choice in choices)
        attempt, first = 1, first_id(tenant_id, key.key)
        for _ in range(TRIES_MAX):
            plan = await self._plan(choices, passengers, flights, offer)
            its_id = first if attempt == 1 else hold_id(tenant_id, key.key, attempt)
            epoch, outcome = await self._ask_redis(its_id, first, key, plan)
            this = _Attempt(tenant_id, request, key, attempt, its_id, plan, epoch)
            answer: Answered[Hold] | SoldOut | _Next
            match outcome:
                case Granted():
                    answer = await self._append(this.entry(outcome))
                case Remembered():
                    answer = await self._remembered(this, outcome)
                case Full():
                    answer = await self._sold_out(this, outcome)
                case Stale():
                    await self._bring_up_to_date(this)
                    flights = await self._catalogue.read_again(plan.versions)
                    answer = _Next.SAME_ID
                case Blocked():
                    await asyncio.sleep(BARRIER_PAUSE_SECONDS)
                    answer = _Next.SAME_ID
            if not isinstance(answer, _Next):
                return answer
            if answer is _Next.NEXT_ID:
                attempt += 1
        raise HoldStoreUnavailable

    def _offer_of(self, tenant_id: TenantId, request: HoldRequest) -> OfferTerms | None:
        if request.offer_id is None:
            return None
        offer = self._open_offer(tenant_id, request.offer_id)
        if offer.expires_at <= self._clock():
            raise OfferExpired
        return offer

    async def _plan(
        self,
        choices: tuple[ClassChoice, ...],
        passengers: PassengerCounts,
        flights: Mapping[FlightId, Flight],
        offer: OfferTerms | None,
    ) -> Itinerary:
        """Refuses only by the flights' rows: an old price would never reach the script."""
        try:
            return itinerary(choices, passengers, flights, self._clock(), offer)
        except DomainError:
            now_known = await self._catalogue.read_again(choice.flight_id for choice in choices)
            return itinerary(choices, passengers, now_known, self._clock(), offer)

    async def _ask_redis(
        self, its_id: HoldId, first: HoldId, key: IdempotencyKey, plan: Itinerary
    ) -> tuple[int, PlaceOutcome]:
        request = request_digest(key.request_hash)

        async def place(life: Life) -> tuple[int, PlaceOutcome]:
            outcome = await life.holds.place(its_id, first, request, plan.lines, plan.versions)
            return life.number, outcome

        return await self._epochs.run(place)

    async def _append(self, entry: JournalEntry) -> Answered[Hold] | _Next:
        """The hold is promised if and only if its row is written, under the epoch of its grant."""
        if await self._journal.append(entry):
            return Answered(original_answer(entry))
        return await self._from_journal(entry)

    async def _from_journal(self, entry: JournalEntry) -> Answered[Hold] | _Next:
        """A row with this id was there before, or the epoch is over."""
        async with self._database.reading() as session:
            row = await journal.read(session, entry.hold_id)
            rows = await inventory_store.read_rows(session, {ln.flight_id for ln in entry.lines})
        if row is None:
            self._epochs.forget(entry.epoch)
            return _Next.SAME_ID
        match row.state:
            case JournalState.HELD:
                pass
            case JournalState.CONFIRMED:  # undo what the script may have granted afresh
                await self._epochs.run(lambda life: life.holds.finish(row.hold_id, rows))
            case ended:
                await self._epochs.run(lambda life: life.holds.end(row.hold_id, ended))
        if row.state is JournalState.ABORTED:
            return _Next.NEXT_ID
        return _replay(row, entry.request_hash)

    async def _remembered(self, this: _Attempt, memo: Remembered) -> Answered[Hold] | _Next:
        """This id was granted before: by a first try that may not have reached the journal."""
        if memo.state is MemoState.HELD:
            if memo.request != request_digest(this.key.request_hash):
                raise IdempotencyKeyReused
            assert memo.expires_at is not None, "it is live"
            assert memo.granted_at is not None, "it is live"
            return await self._append(this.entry(Granted(memo.expires_at, memo.granted_at)))
        row = await self._journal.read(this.hold_id)
        if row is not None and row.state is not JournalState.ABORTED:
            return _replay(row, this.key.request_hash)
        if row is None:  # ended before it was promised: keep a slow first writer from promising it
            # The script's clock or none: the instant moves the cut.
            granted_at = memo.granted_at or _LONG_AGO
            aborted = this.entry(Granted(granted_at, granted_at))
            return await self._append_aborted(replace(aborted, state=JournalState.ABORTED))
        return _Next.NEXT_ID

    async def _append_aborted(self, aborted: JournalEntry) -> Answered[Hold] | _Next:
        written = await self._journal.append(aborted)
        return _Next.NEXT_ID if written else await self._from_journal(aborted)

    async def _sold_out(self, this: _Attempt, full: Full) -> Answered[Hold] | SoldOut:
        """The one refusal that needs no question to the journal, if the key is certainly new."""
        if not (full.is_new and self._epochs.is_certain(this.epoch)):
            first = await self._first_answer(this.tenant_id, this.key)
            if first is not None:
                return first
        by_offer = this.request.offer_id is not None
        return SoldOut.of(this.plan.choices, this.plan.passengers.seats, full, by_offer=by_offer)

    async def _bring_up_to_date(self, this: _Attempt) -> None:
        """Redis may be behind the flights' rows, where a process ended between the two."""
        async with self._database.reading() as session:
            rows = await inventory_store.read_rows(session, this.plan.versions)
        await self._live.apply(rows)

    async def _first_answer(
        self, tenant_id: TenantId, key: IdempotencyKey
    ) -> Answered[Hold] | None:
        """What this key was answered before, if it was."""
        for attempt in range(1, TRIES_MAX + 1):
            row = await self._journal.read(hold_id(tenant_id, key.key, attempt))
            if row is None:
                return None
            if row.state is not JournalState.ABORTED:
                return _replay(row, key.request_hash)
        return None


def _replay(row: JournalEntry, request_hash: str) -> Answered[Hold]:
    if row.request_hash != request_hash:
        raise IdempotencyKeyReused
    return Answered(original_answer(row), replayed=True)
