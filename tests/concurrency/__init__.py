"""Coalescer, cache, single-flight, limiter, detached and background tasks."""
