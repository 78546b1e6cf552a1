"""Who publishes: one relay at a time, for as long as the database's clock says.

Each taking of the lease raises its fence. A relay that was frozen past its lease still believes in
it, so every write on its behalf proves the lease again, in the WHERE of the write itself.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Lease:
    """One relay's grip on the outbox, worth something only while the row says the same."""

    holder: str
    fence: int


PROVEN_LEASE = """
    SELECT shard FROM relay_leases
    WHERE shard = 0 AND holder = :holder AND fence = :fence AND expires_at > clock_timestamp()
"""
"""One row while the lease of `proof_of` is in force, else none."""

_SECONDS_FROM_NOW = "clock_timestamp() + CAST(:seconds AS double precision) * INTERVAL '1 second'"
_TAKE = text(
    f"""
    UPDATE relay_leases
    SET holder = :holder, fence = fence + 1, expires_at = {_SECONDS_FROM_NOW}
    WHERE shard = 0 AND (holder IS NULL OR expires_at <= clock_timestamp())
    RETURNING fence
    """  # noqa: S608 - made of constants
)
_RENEW = text(
    f"""
    UPDATE relay_leases SET expires_at = {_SECONDS_FROM_NOW}
    WHERE shard = 0 AND holder = :holder AND fence = :fence AND expires_at > clock_timestamp()
    RETURNING fence
    """  # noqa: S608 - made of constants
)
_RELEASE = text(
    """
    UPDATE relay_leases SET holder = NULL, expires_at = clock_timestamp()
    WHERE shard = 0 AND holder = :holder AND fence = :fence
    """
)


async def take(session: WriteSession, holder: str, seconds: float) -> Lease | None:
    """The lease, with a higher fence than any before, if it is free or has run out."""
    taken = await session.execute(_TAKE, {"holder": holder, "seconds": seconds})
    fence: int | None = taken.scalar_one_or_none()
    return None if fence is None else Lease(holder, fence)


async def renew(session: WriteSession, lease: Lease, seconds: float) -> bool:
    """False once it has run out, even if nobody took it since."""
    renewed = await session.execute(_RENEW, {**proof_of(lease), "seconds": seconds})
    return renewed.first() is not None


async def release(session: WriteSession, lease: Lease) -> None:
    """Lets the next relay in at once; nothing happens if one is in already."""
    await session.execute(_RELEASE, proof_of(lease))


def proof_of(lease: Lease) -> dict[str, Any]:
    """The parameters of `PROVEN_LEASE`."""
    return {"holder": lease.holder, "fence": lease.fence}
