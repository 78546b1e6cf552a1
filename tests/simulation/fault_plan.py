"""The faults of a run, drawn from its seed: a mix of all, or a theme that makes a rare order of steps likely."""

from collections.abc import Callable

from tests.simulation.faults import FAULTS
from tests.simulation.workload import Workload
from tests.simulation.world import World


class FaultPlan:
    """Which faults happen, and their probabilities for each step."""

    def __init__(self, world: World, workload: Workload, *, only_constraint: bool) -> None:
        """`only_constraint`: the only fault is old Redis data restored under the same incarnation."""
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
        self.stalled: tuple[str, ...] = (
            "",
        )  # effects with one of these in their label are stalled
        self.stalled_for = (5, 70)  # steps
        self.precondition: Callable[[], bool] = lambda: True  # no fault happens before it is true
        if only_constraint:
            self._restore_old_data()
        elif chance.random() < 0.5:
            self._choose_theme()

    def _restore_old_data(self) -> None:
        """Redis offers sold seats again; only the constraint of PostgreSQL stops their sale."""
        mix = self.workload.mix
        self.enabled, self.fault_rate, self.loss_rate, self.stall_rate = ["restore"], 0.02, 0, 0
        mix.jobs |= {"guardian": 0.1, "sync": 0, "number": 0, "resolver": 1}
        mix.clients |= {"book": 60, "cancel": 0, "release": 0, "patch": 0, "extend": 0, "get": 0}

    def _choose_theme(self) -> None:
        """A few faults of one kind, which the mix of all would rarely combine."""
        jobs, clients = self.workload.mix.jobs, self.workload.mix.clients
        themes = ("clock", "rebuild", "late", "pinned", "crowd", "grant", "successor")
        match self.world.chance.choice(themes):
            case "clock":
                self.enabled = ["redis_clock", "redis_clock", "redis_empty", "redis_same"]
                self.fault_rate, self.time_rate = 0.04, 0.06
                jobs["expirer"] = 0.5
            case "rebuild":
                self.enabled = ["flushall", "redis_empty", "freeze", "freeze", "crash"]
                self.fault_rate, self.stall_rate = 0.03, 0.08
            case (
                "pinned"
            ):  # its booking is late: the hold is settled, expires, and another gets the seat
                self.enabled, self.fault_rate, self.time_rate = ["redis_clock"], 0.01, 0.1
                self.stall_rate, self.stalled = 0.5, ("insert_keys", "short_lock_timeout", "prove")
                jobs["expirer"], jobs["resolver"] = 0.2, 16
            case "grant":  # its epoch ends before its journal row is written
                self.enabled, self.fault_rate = ["flushall", "redis_empty", "redis_same"], 0.1
                self.precondition, self.loss_rate, self.under_way_max = (
                    self._is_grant_unwritten,
                    0,
                    5,
                )
                self.stall_rate, self.stalled, self.stalled_for = 0.5, ("append",), (30, 120)
                jobs |= {"guardian": 12, "sweeper": 0.3}
            case (
                "successor"
            ):  # gets and books an expired hold's seat; Redis is lost before the journal is written
                self.workload.sell_one_class(self.world.chance.choice((1, 1, 2)))
                self.enabled, self.fault_rate, self.loss_rate = ["flushall", "redis_empty"], 0.3, 0
                self.precondition, self.time_rate, self.under_way_max = (
                    self._has_successor_booked,
                    0.06,
                    3,
                )
                self.stall_rate, self.stalled, self.stalled_for = 0.8, ("live_page",), (20, 70)
                jobs |= {"expirer": 0, "guardian": 30}
                clients |= {
                    "release": 0,
                    "extend": 0,
                    "cancel": 0,
                    "patch": 0,
                    "get": 0,
                    "foreign": 0,
                }
            case (
                "crowd"
            ):  # many holds in one process; the sweeper runs before their rows are written
                self.world.batch_max, self.workload.mix.first_process_share = 64, 0.9
                self.enabled, self.under_way_max, self.start_rate = ["flushall"], 12, 0.5
                self.fault_rate, self.stall_rate, self.stalled = 0.01, 0.6, ("append",)
                jobs["sweeper"] = 20
            case _:
                self.enabled = ["freeze", "redis_clock", "stall"]
                self.fault_rate, self.stall_rate, self.time_rate = 0.03, 0.08, 0.1

    def _is_grant_unwritten(self) -> bool:
        """A grant's row is on its way to the journal, and its Redis still decides."""
        effects = self.world.effects.pending
        is_on_its_way = any(one.label.endswith(" append") for one in effects)
        return is_on_its_way and self.world.authority() is not None

    def _has_successor_booked(self) -> bool:
        """A booked hold was granted after the end of one that is HELD in the journal, and Redis still decides."""
        if self.world.authority() is None:
            return False
        rows = self.world.database.tables["hold_journal"].values()
        booked = [row["granted_at"] for row in rows if row["state"] == "CONFIRMED"]
        held = [row["expires_at"] for row in rows if row["state"] == "HELD"]
        return bool(booked and held) and min(held) <= max(booked)
