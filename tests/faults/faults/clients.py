"""Clients disconnect before they are answered."""

from tests.faults.faults.base import Fault


class ClientsHangUp(Fault):
    name = "clients-hang-up"
    summary = "most clients give up after some milliseconds, reset their connection and retry"

    async def begin(self) -> None:
        self.scene.hangs_up = 0.6

    async def heal(self) -> None:
        self.scene.hangs_up = 0.0

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, self.chance.uniform(1.0, 4.0))


class Nothing(Fault):
    name = "none"
    summary = "no fault: what is found with it needs no fault"

    async def begin(self) -> None:
        """Nothing."""

    async def heal(self) -> None:
        """Nothing."""

    def lasts_seconds(self) -> float:
        return min(self.longest_seconds, 3.0)
