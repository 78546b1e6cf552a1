"""One relay's hold on the lease: acquires it, renews it, detects its loss, releases it."""

import asyncio
import secrets

import structlog

from app.errors import DatabaseUnavailable
from app.outbox import gauges, lease_store
from app.outbox.lease_store import Lease
from app.storage.database import Database

_log = structlog.get_logger()


class RelayLease:
    def __init__(self, database: Database, *, seconds: float, renew_seconds: float) -> None:
        """A lease lasts `seconds` by the database's clock; it is renewed after `renew_seconds`."""
        self._database = database
        self._seconds = seconds
        self._renew_seconds = renew_seconds
        self._holder = secrets.token_hex(8)  # of this start: a restarted relay is another holder
        self._lease: Lease | None = None
        self._renewed_at = 0.0  # by the event loop's clock

    async def ensure(self) -> Lease | None:
        """The lease, acquired or renewed if that is due; None while another relay has it."""
        now = asyncio.get_running_loop().time()
        held, seconds = self._lease, self._seconds
        if held is not None and now - self._renewed_at < self._renew_seconds:
            return held
        if held is not None:
            is_renewed = await self._database.run_in_transaction(
                lambda session: lease_store.renew(session, held, seconds)
            )
            if not is_renewed:
                self.lose(held)
        if self._lease is None:
            self._lease = await self._database.run_in_transaction(
                lambda session: lease_store.acquire(session, self._holder, seconds)
            )
            if self._lease is not None:
                _log.info("relay_lease_acquired", worker=self._holder)
        self._renewed_at = now
        gauges.LEASED.set(0 if self._lease is None else 1)
        return self._lease

    def lose(self, held: Lease) -> None:
        """A write under `held` changed nothing. That says nothing about a lease acquired later."""
        if self._lease != held:
            return
        self._lease = None
        gauges.LEASED.set(0)
        gauges.FAILURES.labels(reason="lease_lost").inc()
        _log.warning("relay_lease_lost", worker=self._holder)

    async def release(self) -> None:
        """Lets another relay acquire the lease at once. Without the database it ends by its time."""
        held, self._lease = self._lease, None
        gauges.LEASED.set(0)
        if held is None:
            return
        try:
            await self._database.run_in_transaction(
                lambda session: lease_store.release(session, held)
            )
        except DatabaseUnavailable:
            _log.warning("relay_lease_not_released")
