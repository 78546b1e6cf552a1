"""Flights and their inventory: dated flights, nested booking classes, and the seats sold in each."""
