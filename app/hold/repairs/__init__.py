"""Repair jobs: they complete, expire, compare and correct what requests left behind."""
