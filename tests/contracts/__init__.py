"""One behaviour for each implementation of a port, and the OpenAPI document."""
