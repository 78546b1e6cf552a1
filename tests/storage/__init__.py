"""Connections: databases, Redis, durability and query plans."""
