"""Journeys of a client through HTTP, from search to cancellation."""
