"""The fixtures that these stories share with bookings'."""

from tests.booking.conftest import rows

__all__ = ["rows"]
