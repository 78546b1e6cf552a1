"""A flash sale: a flight sells out in seconds, in two nested classes, to parties of one to four."""

import asyncio

from tests.builders.wire import Classes
from tests.faults.scene import Client, answered, run_clients
from tests.faults.workloads.base import Workload, look

_CLASSES: Classes = (("Y", 40, "129900"), ("M", 25, "89900"))
_REFUSED_IN_A_ROW = 12  # then it is sold out, and the next flight goes on sale


class FlashSale(Workload):
    name = "sale"
    summary = "all clients buy one flight until it is sold out, then the next"

    async def prepare(self) -> None:
        (self._flight,) = await self.put(_CLASSES)
        self._refused = 0
        self._opening = asyncio.Lock()

    async def run(self) -> None:
        await run_clients(self.scene, self._buy, self.clients)

    async def _buy(self, client: Client) -> None:
        flight_id = self._flight
        letter = client.chance.choice("YM")
        held = answered(
            await client.hold((flight_id, letter), adults=client.chance.choice((1, 1, 2, 3, 4)))
        )
        if held is None:
            await self._note_refusal(flight_id)
            return
        self._refused = 0
        what = client.chance.random()
        if what < 0.75:
            booked = answered(await client.book(held))
            if booked is not None and client.chance.random() < 0.2:
                await client.cancel(booked["id"])
        elif what < 0.85:
            await client.release(held["id"])
        else:
            await look(client, held, flight_id)

    async def _note_refusal(self, flight_id: str) -> None:
        self._refused += 1
        if self._refused < _REFUSED_IN_A_ROW:
            return
        async with self._opening:
            if self._flight == flight_id and self.scene.is_on:
                (self._flight,) = await self.put(_CLASSES)
                self._refused = 0
