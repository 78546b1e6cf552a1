"""The time at which a hold expires: its seat goes to the first later request, and to no earlier one."""

import asyncio

from tests.faults.history import Operation
from tests.faults.scene import Client, answered, run_clients
from tests.faults.workloads.base import ONE_SEAT, Workload, seconds_until


class ExpireAndRehold(Workload):
    name = "rehold"
    summary = "holds expire, and others request the seat around the time of expiry"
    crowd = 3

    async def prepare(self) -> None:
        self._flights = await self.put(ONE_SEAT, max(2, self.clients // 3))
        self._ends = dict.fromkeys(self._flights, "")

    async def run(self) -> None:
        await run_clients(self.scene, self._wait_and_ask, self.clients)

    async def _wait_and_ask(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        ends = self._ends[flight_id]
        left = seconds_until(ends) if ends else 0.0
        if 0 < left < self.scene.stack.ttl_seconds * 2:
            await asyncio.sleep(max(0.0, left + client.chance.uniform(-0.03, 0.03)))
        for _ in range(5):
            held = answered(await client.hold((flight_id, "Y")))
            if held is not None:
                self._ends[flight_id] = held["expires_at"]
                if client.chance.random() < 0.2:
                    longer = answered(await client.extend(held["id"]))
                    self._ends[flight_id] = (longer or held)["expires_at"]
                elif client.chance.random() < 0.1:
                    await client.get_hold(held["id"])
                return
            await asyncio.sleep(client.chance.uniform(0.0, 0.02))


class ConfirmAgainstExpiry(Workload):
    name = "confirm-expiry"
    summary = "a hold is booked around the time it expires, while others request its seat"
    crowd = 3

    async def prepare(self) -> None:
        self._flights = await self.put(ONE_SEAT, max(3, self.clients // 2))

    async def run(self) -> None:
        await run_clients(self.scene, self._race, self.clients)

    async def _race(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        held = answered(await client.hold((flight_id, "Y")))
        if held is None:
            await asyncio.sleep(client.chance.uniform(0.0, 0.1))
            return
        if client.chance.random() < 0.7:
            early = client.chance.choice((0.0, 0.01, 0.05, 0.3))
            left = seconds_until(held["expires_at"]) - early
            await asyncio.sleep(max(0.0, left + client.chance.uniform(-0.02, 0.02)))
        booked, rival = await asyncio.gather(client.book(held), self._want(client, flight_id))
        for one in (answered(booked), answered(rival)):
            if one is not None and "record_locator" in one:
                await client.cancel(one["id"])

    async def _want(self, client: Client, flight_id: str) -> Operation:
        other = self.scene.client("rival" if client.tenant == "demo" else "demo")
        return await other.hold((flight_id, "Y"))
