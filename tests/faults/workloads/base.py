"""The base of all workloads: flights of its own, and clients that compete for them."""

import time
from datetime import datetime
from typing import ClassVar, Final

from tests.builders.wire import Classes, Json
from tests.faults.scene import Client, Scene

ONE_SEAT: Final[Classes] = (("Y", 1, "129900"),)


class Workload:
    """`prepare` puts its flights on sale; `run` returns when the scene has ended and all is settled."""

    name: ClassVar[str]
    summary: ClassVar[str]  # in one line
    crowd: ClassVar[int] = 1  # factor for the number of clients; more if they mostly wait

    def __init__(self, scene: Scene, clients: int) -> None:
        self.scene = scene
        self.clients = clients * self.crowd

    async def prepare(self) -> None:
        raise AssertionError("each workload has flights of its own")

    async def run(self) -> None:
        raise AssertionError("each workload has clients of its own")

    async def put(self, classes: Classes, count: int = 1) -> list[str]:
        return [await self.scene.put_flight(classes, hour=6 + n % 12) for n in range(count)]


def seconds_until(instant: str) -> float:
    """By this machine's clock, which Redis shares."""
    return datetime.fromisoformat(instant).timestamp() - time.time()


async def look(client: Client, held: Json, flight_id: str) -> None:
    """A client reads what exists; sometimes one of another tenant, who may not."""
    what = client.chance.random()
    if what < 0.4:
        await client.get_hold(held["id"])
    elif what < 0.7:
        await client.availability(flight_id)
    elif what < 0.85:
        await client.scene.client("ops").availability(flight_id)
    else:
        other = "rival" if client.tenant == "demo" else "demo"
        await client.scene.client(other).get_hold(held["id"])
