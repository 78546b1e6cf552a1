"""The last seat: all clients request the same one, and the one that gets it books, releases or leaves it."""

import asyncio

from tests.faults.scene import Client, answered, run_clients
from tests.faults.workloads.base import ONE_SEAT, Workload, look


class LastSeatDuel(Workload):
    name = "duel"
    summary = "many clients for one seat of a flight: booked, cancelled, released or left to expire"

    async def prepare(self) -> None:
        self._flights = await self.put(ONE_SEAT, max(2, self.clients // 4))

    async def run(self) -> None:
        await run_clients(self.scene, self._fight, self.clients)

    async def _fight(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        held = answered(await client.hold((flight_id, "Y")))
        if held is None:
            await asyncio.sleep(client.chance.uniform(0, 0.05))
            return
        match client.chance.choice(("book", "book", "release", "leave", "look")):
            case "book":
                booked = answered(await client.book(held))
                if booked is not None:
                    await client.get_booking(booked["id"])
                    await client.cancel(booked["id"])
            case "release":
                await client.release(held["id"])
            case "look":
                await look(client, held, flight_id)
                await client.release(held["id"])
            case _:
                pass
