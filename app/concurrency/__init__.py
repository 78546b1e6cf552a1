"""Concurrency primitives that know no connection: sharing work, bounding it, running it detached."""
