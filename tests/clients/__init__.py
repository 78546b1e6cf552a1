"""Generated clients against the served OpenAPI document."""
