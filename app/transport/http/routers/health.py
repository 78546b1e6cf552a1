"""Health of the process, for probes and scrapers, without a token.

`/readyz` checks every dependency at the same time, each within a bound, and caches the answer briefly, so that
frequent probes cost little.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.concurrency.single_flight import SingleFlight
from app.errors import DomainError
from app.telemetry.metrics import render_metrics
from app.transport.http.problems.responses import documented
from app.transport.http.wire.schemas import Readiness

Check = Callable[[], Awaitable[None]]

CHECK_SECONDS = 1.0
CACHED_SECONDS = 0.25


router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Is the process alive",
    response_description="It is.",
    responses=documented("method_not_allowed"),
)
async def livez() -> dict[str, str]:
    """Checks no dependency. Restart a process that does not answer."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Can the process and its dependencies serve",
    response_description="They can.",
    responses={
        503: {"model": Readiness, "description": "A dependency is unavailable."},
        **documented("method_not_allowed"),
    },
)
async def readyz(request: Request) -> Readiness:
    """Send no requests to this process while the answer is 503; `checks` says what is unavailable."""
    probe: Probe = request.app.state.probe
    readiness = await probe.readiness()
    status = 200 if readiness.status == "ok" else 503
    return JSONResponse(  # type: ignore[return-value]  # the model is the documented schema
        readiness.model_dump(), status, headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/metrics",
    summary="Read the metrics, in Prometheus' text format",
    response_class=Response,
    responses={
        200: {
            "description": "Counters, gauges and histograms.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **documented("method_not_allowed"),
    },
)
async def metrics() -> Response:
    """The sum over all worker processes."""
    text = await asyncio.to_thread(render_metrics)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


class Probe:
    """Runs the checks concurrently, once for all requests of the same time, and caches the answer."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._flight: SingleFlight[str, Readiness] = SingleFlight()
        self._answer: tuple[float, Readiness] | None = None

    async def readiness(self) -> Readiness:
        now = asyncio.get_running_loop().time()
        if self._answer is not None and now - self._answer[0] < CACHED_SECONDS:
            return self._answer[1]
        return await self._flight.join("readiness", self._run)

    async def _run(self) -> Readiness:
        states = await asyncio.gather(*map(_state, self._checks.values()))
        healthy = all(state == "ok" for state in states)
        readiness = Readiness(
            status="ok" if healthy else "unavailable",
            checks=dict(zip(self._checks, states, strict=True)),
        )
        self._answer = (asyncio.get_running_loop().time(), readiness)
        return readiness


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except DomainError as error:
        return error.detail
    except Exception as error:
        return f"unavailable ({type(error).__name__})"
    return "ok"
