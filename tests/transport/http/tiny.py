"""A tiny application behind the real HTTP layer: each kind of route, with hooks to make it fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Query
from starlette.responses import Response

from app.concurrency.detached import run_detached
from app.errors import DomainError, ErrorKind
from app.identity.errors import Unauthenticated
from app.identity.principal import Principal, Scope
from app.ids import TenantId
from app.transport.http.application import Limits, create_app
from app.transport.http.pipeline.dependencies import (
    CurrentPrincipal,
    Idempotency,
    OptionalIdempotency,
    Paging,
)
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.problems.responses import documented
from app.transport.http.wire.schemas import (
    Count,
    CountsIn,
    Day,
    Input,
    Listing,
    MoneyIn,
    Output,
    listing,
)

GOOD = {"Authorization": "Bearer good"}
KEY = {"Idempotency-Key": "k-1"}
JSON = {"Content-Type": "application/json"}


class Wish(Input):
    name: str
    nights: Count = 1
    price: MoneyIn | None = None
    passengers: CountsIn | None = None
    born_on: Day | None = None
    inner: "Wish | None" = None


class Shown(Output):
    tenant: str
    name: str
    key: str | None
    request_hash: str | None


Act = Callable[[], Awaitable[None]]


async def _nothing() -> None:
    return None


@dataclass
class Tiny:
    """`act` runs inside every endpoint; `change` is the detached task of POST /v1/holds."""

    act: Act = _nothing
    change: Act = _nothing
    calls: list[str] = field(default_factory=list)


def tiny_router(tiny: Tiny) -> ScopedRouter:
    router = ScopedRouter(scope=Scope.HOLDS_WRITE, prefix="/v1/holds", tags=["holds"])

    @router.post("", status_code=201, responses=documented("sold_out"))
    async def create(wish: Wish, caller: CurrentPrincipal, key: Idempotency) -> Shown:
        tiny.calls.append("create")
        await tiny.act()
        await run_detached(_run(tiny.change))
        return Shown(
            tenant=caller.tenant_id, name=wish.name, key=key.key, request_hash=key.request_hash
        )

    @router.get("")
    async def list_them(
        page: Paging, day: Annotated[Day | None, Query()] = None, text: str = ""
    ) -> Listing[Shown]:
        tiny.calls.append("list")
        await tiny.act()
        one = Shown(tenant=str(page.limit), name=text, key=None, request_hash=page.after)
        return listing([one], None)

    @router.get("/{hold_id}", responses=documented("not_found"))
    async def read(hold_id: str, caller: CurrentPrincipal) -> Shown:
        tiny.calls.append("read")
        await tiny.act()
        return Shown(tenant=caller.tenant_id, name=hold_id, key=None, request_hash=None)

    @router.post("/{hold_id}/extend")
    async def extend(hold_id: str, key: OptionalIdempotency) -> Shown:
        tiny.calls.append("extend")
        await tiny.act()
        return Shown(
            tenant="",
            name=hold_id,
            key=key.key if key else None,
            request_hash=key.request_hash if key else None,
        )

    @router.delete("/{hold_id}", status_code=204)
    async def release(hold_id: str) -> Response:
        tiny.calls.append("release")
        await tiny.act()
        return Response(status_code=204)

    return router


async def authenticate(token: str) -> Principal:
    if token not in ("good", "poor"):
        raise Unauthenticated
    scopes = frozenset(Scope) if token == "good" else frozenset({Scope.OFFERS_READ})
    return Principal(TenantId("t1"), "client-1", "subject-1", scopes)


def tiny_app(
    tiny: Tiny | None = None,
    *,
    limits: Limits | None = None,
    checks: Mapping[str, Act] | None = None,
    **options: Any,
) -> FastAPI:
    tiny = tiny or Tiny()
    return create_app(
        authenticate=authenticate,
        routers=[tiny_router(tiny)],
        checks=checks or {},
        version="1.2.3",
        limits=limits or Limits(),
        **options,
    )


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as client:
        yield client


def raises(error: BaseException) -> Act:
    async def act() -> None:
        raise error

    return act


def refusal(kind: ErrorKind, code: str) -> type[DomainError]:
    members = {"kind": kind, "code": code, "title": code.title()}
    return type(f"Refused_{code}", (DomainError,), members)


async def until(condition: Callable[[], bool], seconds: float = 3) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is the application's own state
            await asyncio.sleep(0)


async def _run(act: Act) -> None:
    await act()
