"""Holds: placing, extending, releasing and reading them, on real servers."""
