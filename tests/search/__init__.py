"""Search: itineraries, connections, round trips, pages and offers."""
