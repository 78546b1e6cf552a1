"""The schedule: rules of a flight, changes, imports and events."""
