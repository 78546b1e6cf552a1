"""Connections, not queries: the database, the hold store's connection, and how scripts are sent."""
