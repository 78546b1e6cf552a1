"""The pipeline of a request: order of refusals, gates, bodies, permits."""
