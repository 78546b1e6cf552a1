"""Concurrent requests for one hold or booking."""

import asyncio

from tests.builders.wire import Classes
from tests.faults.scene import Client, answered, run_clients
from tests.faults.workloads.base import Workload, look

_CLASSES: Classes = (("Y", 6, "129900"), ("M", 4, "89900"))
_DELIVERIES = 4


class ReleaseAgainstConfirm(Workload):
    name = "release-confirm"
    summary = "a hold is booked, released and extended at the same time, at different processes"

    async def prepare(self) -> None:
        self._flights = await self.put(_CLASSES, 3)

    async def run(self) -> None:
        await run_clients(self.scene, self._race, self.clients)

    async def _race(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        held = answered(await client.hold((flight_id, client.chance.choice("YM"))))
        if held is None:
            await asyncio.sleep(client.chance.uniform(0.0, 0.05))
            return
        other = self.scene.client(client.tenant)
        book, release = client.book_request(held), other.release_request(held["id"])
        extend = client.extend_request(held["id"])
        rivals = client.chance.choice(
            (
                [book, release],
                [book, release],
                [book, release, extend],
                [book, other.book_request(held)],
                [extend, release],
            )
        )
        done = await client.concurrently(rivals)
        for one in done:
            booked = answered(one) if one.kind == "book" else None
            if booked is not None:
                await asyncio.gather(client.cancel(booked["id"]), other.cancel(booked["id"]))
                return


class RetryStorm(Workload):
    name = "storm"
    summary = "every request is delivered four times concurrently, to all processes, with one key"

    async def prepare(self) -> None:
        self._flights = await self.put(_CLASSES, 3)

    async def run(self) -> None:
        await run_clients(self.scene, self._repeat, max(2, self.clients // 2))

    async def _repeat(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        request = client.hold_request((flight_id, client.chance.choice("YM")))
        answers = [answered(one) for one in await client.concurrently([request] * _DELIVERIES)]
        held = next((one for one in answers if one is not None), None)
        if held is None:
            await asyncio.sleep(client.chance.uniform(0.0, 0.05))
            return
        if client.chance.random() < 0.3:
            await client.release(held["id"])
            await client.settle(request)
            return
        order = client.book_request(held)
        sold = [answered(one) for one in await client.concurrently([order] * _DELIVERIES)]
        booked = next((one for one in sold if one is not None), None)
        if booked is not None:
            ending = client.cancel_request(booked["id"])
            await client.concurrently([ending] * _DELIVERIES)
            await client.settle(order)


class CancelAndRebook(Workload):
    name = "rebook"
    summary = "bookings are cancelled and made again while limits change and the relay publishes it"

    async def prepare(self) -> None:
        self._flights = await self.put(_CLASSES, 3)
        self._cursors: dict[str, str] = {}  # by tenant

    async def run(self) -> None:
        await asyncio.gather(
            run_clients(self.scene, self._rebook, self.clients - 1), self._move_limits()
        )

    async def _rebook(self, client: Client) -> None:
        flight_id = client.chance.choice(self._flights)
        held = answered(await client.hold((flight_id, client.chance.choice("YM"))))
        if held is None:
            await asyncio.sleep(client.chance.uniform(0.0, 0.1))
            return
        booked = answered(await client.book(held))
        if booked is None:
            return
        if client.chance.random() < 0.2:
            await look(client, held, flight_id)
        await client.cancel(booked["id"])
        await client.get_booking(booked["id"])
        if client.chance.random() < 0.2:
            await self._read_on(client)

    async def _read_on(self, client: Client) -> None:
        """Read the partner's facts, from its cursor on."""
        cursor = self._cursors.get(client.tenant)
        page = answered(await client.events("?limit=50" + (f"&after={cursor}" if cursor else "")))
        if page is not None and page["meta"]["after"] is not None:
            self._cursors[client.tenant] = page["meta"]["after"]

    async def _move_limits(self) -> None:
        """Lower and raise limits, as revenue management does: holds and bookings stay."""
        ops = self.scene.client("ops")
        while self.scene.is_on:
            await asyncio.sleep(ops.chance.uniform(0.1, 0.4))
            flight_id = ops.chance.choice(self._flights)
            limits = ops.chance.choice(({"Y": 6, "M": 4}, {"Y": 3, "M": 2}, {"Y": 8}, {"M": 0}))
            await ops.patch(flight_id, limits)
