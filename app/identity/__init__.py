"""Authentication: from a bearer token to a `Principal`. The only package that validates tokens."""
