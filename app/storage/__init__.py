"""Connections, not queries: to PostgreSQL, to Redis, and how scripts are sent."""
