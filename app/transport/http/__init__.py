"""The HTTP layer: routes, schemas and refusals. It has no SQL, no Redis and no decisions."""
