"""The statements of the relay's lease, which lets one relay publish at a time, by the database's clock.

Each acquisition raises the fencing token. A relay that was frozen for longer than its lease does not know
that the lease has ended, so every write on its behalf proves the lease again, in its own WHERE.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.storage.database import WriteSession


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one relay to publish. It is valid only while the row says the same."""

    holder: str
    fencing_token: int


PROVEN_LEASE = """
    SELECT shard FROM relay_leases
    WHERE shard = 0 AND holder = :holder AND fence = :fence AND expires_at > clock_timestamp()
"""
"""One row while the lease of `proof_of` is in force, else none."""

_SECONDS_FROM_NOW = "clock_timestamp() + CAST(:seconds AS double precision) * INTERVAL '1 second'"
_ACQUIRE = text(
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


async def acquire(session: WriteSession, holder: str, seconds: float) -> Lease | None:
    """The lease, with a higher fencing token than any before, if it is free or has expired."""
    acquired = await session.execute(_ACQUIRE, {"holder": holder, "seconds": seconds})
    fencing_token: int | None = acquired.scalar_one_or_none()
    return None if fencing_token is None else Lease(holder, fencing_token)


async def renew(session: WriteSession, lease: Lease, seconds: float) -> bool:
    """False once it has expired, even if no other relay has acquired it since."""
    renewed = await session.execute(_RENEW, {**proof_of(lease), "seconds": seconds})
    return renewed.first() is not None


async def release(session: WriteSession, lease: Lease) -> None:
    """Lets another relay acquire it at once; without effect if one already has."""
    await session.execute(_RELEASE, proof_of(lease))


def proof_of(lease: Lease) -> dict[str, Any]:
    """The parameters of `PROVEN_LEASE`."""
    return {"holder": lease.holder, "fence": lease.fencing_token}
