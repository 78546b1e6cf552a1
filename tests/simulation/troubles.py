"""What a run is troubled by, drawn from its seed: a mix of all, or a theme that brings a rare order about."""

from collections.abc import Callable

from tests.simulation.faults import FAULTS
from tests.simulation.workload import Workload
from tests.simulation.world import World


class Troubles:
    """How often what goes wrong, a chance for each step."""

    def __init__(self, world: World, workload: Workload, *, is_guarded: bool) -> None:
        """`is_guarded`: old data is put back under the same incarnation, and nothing else fails."""
        self.world = world
        self.workload = workload
        chance = world.chance
        self.enabled = [fault for fault in FAULTS if chance.random() < 0.4]
        self.fault_rate = chance.choice((0.0, 0.01, 0.02, 0.04))
        self.loss_rate = chance.choice((0.0, 0.0, 0.02, 0.08))
        self.time_rate = chance.choice((0.02, 0.06, 0.15))
        self.start_rate = chance.choice((0.1, 0.2, 0.4))
        self.under_way_max = chance.choice((3, 5, 8, 12))
        self.stall_rate = chance.choice((0.0, 0.01, 0.04))
        self.stalled: tuple[str, ...] = ("",)  # what is held back has one of these in its name
        self.stalled_for = (5, 70)  # steps
        self.awaited: Callable[[], bool] = lambda: True  # before anything fails
        if is_guarded:
            self._go_back_in_time()
        elif chance.random() < 0.5:
            self._choose_theme()

    def _go_back_in_time(self) -> None:
        """What was sold is for sale again in Redis; only the guard of the row stands in the way."""
        mix = self.workload.mix
        self.enabled, self.fault_rate, self.loss_rate, self.stall_rate = ["restore"], 0.02, 0, 0
        mix.jobs |= {"guardian": 0.1, "sync": 0, "number": 0, "resolver": 1}
        mix.clients |= {"book": 60, "cancel": 0, "release": 0, "patch": 0, "extend": 0, "get": 0}

    def _choose_theme(self) -> None:
        """Little trouble of one kind, more often than a draw of all would bring it together."""
        jobs, clients = self.workload.mix.jobs, self.workload.mix.clients
        themes = ("clock", "rebuild", "late", "pinned", "crowd", "grant", "heir")
        match self.world.chance.choice(themes):
            case "clock":
                self.enabled = ["redis_clock", "redis_clock", "redis_empty", "redis_same"]
                self.fault_rate, self.time_rate = 0.04, 0.06
                jobs["expirer"] = 0.5
            case "rebuild":
                self.enabled = ["flushall", "redis_empty", "freeze", "freeze", "crash"]
                self.fault_rate, self.stall_rate = 0.03, 0.08
            case "pinned":  # and its sale is late: it is settled, runs out, and goes to another
                self.enabled, self.fault_rate, self.time_rate = ["redis_clock"], 0.01, 0.1
                self.stall_rate, self.stalled = 0.5, ("claim_keys", "be_brief", "prove")
                jobs["expirer"], jobs["resolver"] = 0.2, 16
            case "grant":  # of an epoch that is over when it is to be written
                self.enabled, self.fault_rate = ["flushall", "redis_empty", "redis_same"], 0.1
                self.awaited, self.loss_rate, self.under_way_max = self._is_grant_unwritten, 0, 5
                self.stall_rate, self.stalled, self.stalled_for = 0.5, ("append",), (30, 120)
                jobs |= {"guardian": 12, "sweeper": 0.3}
            case "heir":  # of a hold that ran out books, and Redis is lost before the journal hears
                self.workload.sell_one_class(self.world.chance.choice((1, 1, 2)))
                self.enabled, self.fault_rate, self.loss_rate = ["flushall", "redis_empty"], 0.3, 0
                self.awaited, self.time_rate, self.under_way_max = self._has_heir_booked, 0.06, 3
                self.stall_rate, self.stalled, self.stalled_for = 0.8, ("live_page",), (20, 70)
                jobs |= {"expirer": 0, "guardian": 30}
                clients |= {"release": 0, "extend": 0, "cancel": 0, "patch": 0, "get": 0, "pry": 0}
            case "crowd":  # in one process, whose grants are looked for before they are written
                self.world.batch_max, self.workload.mix.crowding = 64, 0.9
                self.enabled, self.under_way_max, self.start_rate = ["flushall"], 12, 0.5
                self.fault_rate, self.stall_rate, self.stalled = 0.01, 0.6, ("append",)
                jobs["sweeper"] = 20
            case _:
                self.enabled = ["freeze", "redis_clock", "stall"]
                self.fault_rate, self.stall_rate, self.time_rate = 0.03, 0.08, 0.1

    def _is_grant_unwritten(self) -> bool:
        """Its Redis is still there, and its row on the way."""
        effects = self.world.effects.pending
        is_on_its_way = any(one.label.endswith(" append") for one in effects)
        return is_on_its_way and self.world.authority() is not None

    def _has_heir_booked(self) -> bool:
        """By the journal its forerunner lives, though Redis, not lost so far, had let go of it."""
        if self.world.authority() is None:
            return False
        rows = self.world.database.tables["hold_journal"].values()
        booked = [row["granted_at"] for row in rows if row["state"] == "CONFIRMED"]
        held = [row["expires_at"] for row in rows if row["state"] == "HELD"]
        return bool(booked and held) and min(held) <= max(booked)
