"""HTTP: the contract's routes, shapes and refusals. No SQL, no Redis, no decisions."""
