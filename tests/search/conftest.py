"""Search on real PostgreSQL and Valkey, at a time of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from app.wiring import build_core
from tests.builders.search import Moment, Shop

StartShop = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def start_shop(empty_database: str, empty_redis: str) -> AsyncIterator[StartShop]:
    """`await start_shop(ttl=timedelta(seconds=1))`: open, and empty of flights."""
    async with AsyncExitStack() as running:

        async def start(*, ttl: timedelta = timedelta(minutes=10)) -> Shop:
            moment = Moment()
            core = build_core(empty_database, empty_redis, hold_ttl=ttl, clock=moment)
            running.push_async_callback(core.close)
            await core.guardian.ensure_open()
            return Shop(core, moment)

        yield start


@pytest.fixture
async def shop(start_shop: StartShop) -> Shop:
    return await start_shop()
