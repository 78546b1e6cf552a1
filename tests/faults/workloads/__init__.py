"""The workloads: eight ways in which clients compete for the same seats."""

from tests.faults.workloads.base import Workload
from tests.faults.workloads.boundary import ConfirmAgainstExpiry, ExpireAndRehold
from tests.faults.workloads.crossing import CrossingItineraries
from tests.faults.workloads.duel import LastSeatDuel
from tests.faults.workloads.races import CancelAndRebook, ReleaseAgainstConfirm, RetryStorm
from tests.faults.workloads.sale import FlashSale

_ALL: tuple[type[Workload], ...] = (
    LastSeatDuel,
    FlashSale,
    CrossingItineraries,
    ExpireAndRehold,
    ConfirmAgainstExpiry,
    ReleaseAgainstConfirm,
    RetryStorm,
    CancelAndRebook,
)
WORKLOADS: dict[str, type[Workload]] = {one.name: one for one in _ALL}
