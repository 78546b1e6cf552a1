"""What can be sold: offers with live seats, routes, availability. Reads only."""
