"""The examination: findings on each server, then on whether the two agree, flight by flight."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from app.doctor import rules
from app.doctor.model import Finding, danger, ok
from app.doctor.rules import Deployment
from app.doctor.store import read_postgres, read_redis
from app.errors import DomainError
from app.hold.repairs.reconciler import Reconciler
from app.hold.repairs.repair import Repair
from app.storage.redis import UNREACHABLE

S = TypeVar("S")

_UNREACHABLE: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    *UNREACHABLE,
)


class Doctor:
    def __init__(
        self, deployment: Deployment, head: str, reconciler: Reconciler, repair: Repair
    ) -> None:
        """`head` is the migration that this version needs."""
        self._deployment = deployment
        self._head = head
        self._reconciler = reconciler
        self._repair = repair

    async def examine(
        self, database_url: str, redis_url: str, *, repairs: bool = False
    ) -> list[Finding]:
        findings = list(rules.of_ourselves(self._deployment))
        postgres = await _read("PostgreSQL", "DATABASE_URL", read_postgres, database_url, findings)
        redis = await _read("Redis", "REDIS_URL", read_redis, redis_url, findings)
        if postgres is not None:
            findings += rules.of_postgres(postgres, self._head, self._deployment)
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
                repaired = await self._repair.correct(drifts)
                how = "by a new epoch" if repaired.with_new_epoch else "one by one"
                if not repaired.remaining:
                    return [ok("drift", f"{repaired.found} differences were corrected {how}")]
                drifts = await self._reconciler.compare()
        except DomainError as error:
            return [danger("drift", "not compared", error.detail, "see the findings above")]
        return list(rules.of_drift([(d.flight_id, d.seats, d.description) for d in drifts]))


async def _read(
    name: str,
    setting: str,
    read: Callable[[str], Awaitable[S]],
    url: str,
    findings: list[Finding],
) -> S | None:
    try:
        return await read(url)
    except _UNREACHABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        findings.append(
            danger(
                name,
                f"does not answer at {setting} ({reason})",
                "without it no seat can be held, and few can be booked",
                f"start {name}, or correct {setting}",
            )
        )
        return None
