"""The port to a bus, with what the relay needs; the adapters of vendors are in adapters/.

The relay passes at most 100 events, at most one of each aggregate, and marks those that were accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from app.outbox.model import Event


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bus has the event, as durably as that bus stores anything."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The bus does not have the event, as far as is known.

    `retryable` is False where the event itself is at fault. `reason` is one of a few codes of the
    adapter (`[a-z_]+`): it becomes a metric's label and a log field.
    """

    retryable: bool
    reason: str


Outcome: TypeAlias = Accepted | Refused


class Publisher(Protocol):
    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        """One outcome for each event, in the order given.

        An event may come again after any outcome: delivery is at least once. May be cancelled at a
        deadline; an exception counts as a refusal of the whole batch, of which parts may have left.
        """
        ...

    async def close(self) -> None:
        """Closes connections. May be called again."""
        ...
