"""The bus that takes everything and keeps nothing: for deployments without one."""

from collections.abc import Sequence

from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome


class NullBus:
    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        return [Accepted()] * len(batch)

    async def close(self) -> None:
        pass
