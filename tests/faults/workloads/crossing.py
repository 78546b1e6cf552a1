"""Itineraries of several flights in every order: all or nothing, and never a deadlock."""

from tests.builders.wire import Classes
from tests.faults.scene import Client, answered, run_clients
from tests.faults.workloads.base import Workload, look

_CLASSES: Classes = (("Y", 9, "129900"), ("M", 5, "89900"))


class CrossingItineraries(Workload):
    name = "crossing"
    summary = (
        "holds of two to four flights in every order, booked, cancelled, released or left to expire"
    )

    async def prepare(self) -> None:
        self._flights = await self.put(_CLASSES, 5)

    async def run(self) -> None:
        await run_clients(self.scene, self._travel, self.clients)

    async def _travel(self, client: Client) -> None:
        flights = client.chance.sample(self._flights, client.chance.choice((2, 2, 3, 4)))
        choices = [(flight, client.chance.choice("YM")) for flight in flights]
        held = answered(await client.hold(*choices, adults=client.chance.choice((1, 1, 2))))
        if held is None:
            return
        what = client.chance.random()
        if what < 0.5:
            booked = answered(await client.book(held))
            if booked is not None:
                await client.cancel(booked["id"])
        elif what < 0.8:
            await client.release(held["id"])
        elif what < 0.9:
            await client.extend(held["id"])
            await client.release(held["id"])
        else:
            await look(client, held, flights[0])
