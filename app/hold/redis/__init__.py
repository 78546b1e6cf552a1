"""The Redis half of a hold: scripts, their typed callers, and the names of keys."""
