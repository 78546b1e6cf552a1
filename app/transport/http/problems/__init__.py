"""Refusals as RFC 9457 problems: their rendering, their types, their documentation."""
