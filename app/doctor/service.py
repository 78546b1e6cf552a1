"""The examination: what each server says, judged; then whether the two agree, flight by flight."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from app.doctor import rules
from app.doctor.model import Finding, danger, ok
from app.doctor.rules import Deployment
from app.doctor.store import see_postgres, see_redis
from app.errors import DomainError
from app.hold.repairs.reconciler import Reconciler
from app.hold.repairs.repair import Repair
from app.storage.redis import UNREACHABLE

S = TypeVar("S")

_AWAY: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    *UNREACHABLE,
)


class Doctor:
    def __init__(
        self, chosen: Deployment, head: str, reconciler: Reconciler, repair: Repair
    ) -> None:
        """`head` is the tables' shape that the program needs."""
        self._chosen = chosen
        self._head = head
        self._reconciler = reconciler
        self._repair = repair

    async def examine(
        self, database_url: str, redis_url: str, *, repairs: bool = False
    ) -> list[Finding]:
        findings = list(rules.of_ourselves(self._chosen))
        postgres = await _seen("PostgreSQL", "DATABASE_URL", see_postgres, database_url, findings)
        redis = await _seen("Redis", "REDIS_URL", see_redis, redis_url, findings)
        if postgres is not None:
            findings += rules.of_postgres(postgres, self._head, self._chosen)
        if redis is not None:
            findings += rules.of_redis(redis)
        if postgres is not None and redis is not None:
            findings += rules.of_both(postgres, redis)
            findings += await self._drift(repairs=repairs)
        return findings

    async def _drift(self, *, repairs: bool) -> list[Finding]:
        try:
            drifts = await self._reconciler.compare()
            if drifts and repairs:
                repaired = await self._repair.mend(drifts)
                how = "with a new epoch" if repaired.with_new_epoch else "piece by piece"
                if not repaired.left:
                    return [ok("drift", f"{repaired.found} differences were mended {how}")]
                drifts = await self._reconciler.compare()
        except DomainError as error:
            return [
                danger("drift", "could not be looked for", error.detail, "see the findings above")
            ]
        return list(rules.of_drift([(d.flight_id, d.seats, d.what) for d in drifts]))


async def _seen(
    name: str,
    setting: str,
    see: Callable[[str], Awaitable[S]],
    url: str,
    findings: list[Finding],
) -> S | None:
    try:
        return await see(url)
    except _AWAY as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        findings.append(
            danger(
                name,
                f"does not answer at {setting} ({reason})",
                "without it nothing can be held, and little be booked",
                f"start it, or set {setting}",
            )
        )
        return None
