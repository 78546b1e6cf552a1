"""The session's database with nothing in its outbox: a new one for each test would take longer than the test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from app.storage.database import Database
from tests.builders.facts import forget_everything


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    await forget_everything(database)
    yield database
    await forget_everything(database)
    await database.close()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the relay complains of is expected here; drawing its tracebacks takes longer than the tests."""
    with capture_logs():
        yield
