"""The benchmark's own arithmetic and programs."""
