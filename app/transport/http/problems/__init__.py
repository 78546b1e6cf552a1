"""Refusals as RFC 9457 problem details: their types, their rendering, their documentation."""
