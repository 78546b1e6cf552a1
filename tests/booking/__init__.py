"""Booking: confirmation, cancellation, rules and failures, on real servers."""
