"""One relay's time in office: takes the lease, renews it, notices its loss, gives it back."""

import asyncio
import secrets

import structlog

from app.errors import DatabaseUnavailable
from app.outbox import gauges, lease
from app.outbox.lease import Lease
from app.storage.database import Database

_log = structlog.get_logger()


class RelayLease:
    def __init__(self, database: Database, *, seconds: float, renew_seconds: float) -> None:
        """`seconds` of a lease by the database's clock, renewed when `renew_seconds` have passed."""
        self._database = database
        self._seconds = seconds
        self._renew_seconds = renew_seconds
        self._holder = secrets.token_hex(8)  # of this start: a restarted relay is another one
        self._lease: Lease | None = None
        self._renewed_at = 0.0  # by the event loop's clock

    async def ensure(self) -> Lease | None:
        """Taken or renewed, if that is due; None while another relay has it."""
        now = asyncio.get_running_loop().time()
        held, seconds = self._lease, self._seconds
        if held is not None and now - self._renewed_at < self._renew_seconds:
            return held
        if held is not None:
            kept = await self._database.run_in_transaction(
                lambda session: lease.renew(session, held, seconds)
            )
            if not kept:
                self.lose(held)
        if self._lease is None:
            self._lease = await self._database.run_in_transaction(
                lambda session: lease.take(session, self._holder, seconds)
            )
            if self._lease is not None:
                _log.info("relay_lease_acquired", worker=self._holder)
        self._renewed_at = now
        gauges.LEASED.set(0 if self._lease is None else 1)
        return self._lease

    def lose(self, held: Lease) -> None:
        """What was to be written under `held` was not; of a lease of before that says nothing."""
        if self._lease != held:
            return
        self._lease = None
        gauges.LEASED.set(0)
        gauges.FAILURES.labels(reason="lease_lost").inc()
        _log.warning("relay_lease_lost", worker=self._holder)

    async def give_back(self) -> None:
        held, self._lease = self._lease, None
        gauges.LEASED.set(0)
        if held is None:
            return
        try:
            await self._database.run_in_transaction(lambda session: lease.release(session, held))
        except DatabaseUnavailable:
            _log.warning("relay_lease_not_released")
